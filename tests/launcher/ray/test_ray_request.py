"""What is sent to Ray for a job: labels, variables, resources, ids. Nothing of it needs a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, Refused
from launched import changed
from launcher.backends import ray
from launcher.backends.ray_request import build, content_digest, label_selector, submission_id
from launcher.configuration.ray import RayExecution
from launcher.jobs import Deployment, JobPlan, Resources, RunPlan, SecretName
from launcher.plans.planning import plan_run
from planned_runs import DIGEST, catalog, config, plan

URL = "http://head:8265"
TASKS = {"evaluation": {"tasks": ["quickcheck.chat"]}}
SHARED = {"type": "ray", "dashboard_url": URL, "shared_dir": "/mnt/shared"}


def planned(execution: Mapping[str, Any], environ: Mapping[str, str] | None = None, **more: Any) -> RunPlan:
    whole = {"type": "ray", "dashboard_url": URL, **execution}
    return plan({"execution": whole, **TASKS, **more}, environ=environ)


def of_image(image: str | None) -> JobPlan:
    (job,) = planned(SHARED).jobs
    return replace(job, image=image, container="", harness="quickcheck")


IMAGE = f"registry.example/evals/Simple_Evals:26.03@{DIGEST}"


@pytest.mark.parametrize(
    "pattern",
    ["Simple_Evals", "Simple*", "*/evals/*", "registry.example/evals/Simple_Evals:26.03", "quickcheck"],
)
def test_labels_by_the_container_s_name_or_a_pattern(pattern: str) -> None:
    settings = {"image_label_selectors": {pattern: {"pool": "cpu"}}}
    assert label_selector(settings, of_image(IMAGE)) == {"pool": "cpu"}


def test_a_containers_name_is_known_where_none_is_started() -> None:
    (job,) = planned({**SHARED, "container_runtime": "none"}).jobs
    assert job.image is None
    by_name = {"registry.example/evals/*": {"pool": "cpu"}, "*": {"pool": "any"}}
    assert label_selector({"image_label_selectors": by_name}, job) == {"pool": "cpu"}


def test_a_working_folder_is_that_of_who_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later attempt may be submitted from another one."""
    monkeypatch.chdir(tmp_path)
    assert planned({**SHARED, "working_dir": "."}).settings["working_dir"] == str(tmp_path)
    assert planned({**SHARED, "working_dir": "s3://a/b"}).settings["working_dir"] == "s3://a/b"


def test_the_first_pattern_that_fits_decides_about_each_key() -> None:
    settings: dict[str, Any] = {
        "image_label_selectors": {
            "other*": {"pool": "no"},
            "Simple*": {"pool": "first"},
            "*": {"pool": "second", "zone": "b"},
        }
    }
    assert label_selector(settings, of_image(IMAGE)) == {"pool": "first", "zone": "b"}


def test_a_static_selector_wins_every_conflict() -> None:
    settings: dict[str, Any] = {
        "entrypoint_label_selector": {"pool": "static"},
        "image_label_selectors": {"*": {"pool": "image", "zone": "b"}},
    }
    assert label_selector(settings, of_image(IMAGE)) == {"pool": "static", "zone": "b"}
    settings["image_label_key"] = "pool"
    settings["image_label_selectors"] = {}
    assert label_selector(settings, of_image(IMAGE)) == {"pool": "static"}


def test_a_label_made_of_the_name_only_where_no_pattern_fits() -> None:
    key = {"image_label_key": "image"}
    assert label_selector(key, of_image(IMAGE)) == {"image": "simple-evals"}
    assert label_selector(key, of_image(None)) == {"image": "quickcheck"}
    fits = {**key, "image_label_selectors": {"Simple*": {"pool": "a"}}}
    assert label_selector(fits, of_image(IMAGE)) == {"pool": "a"}
    empty = {**key, "image_label_selectors": {"Simple*": {}}}
    assert label_selector(empty, of_image(IMAGE)) == {}
    none = {**key, "image_label_selectors": {"other": {"pool": "a"}}}
    assert label_selector(none, of_image(IMAGE)) == {"image": "simple-evals"}
    long = of_image(f"r.example/{'a' * 62}_b")
    assert label_selector(key, long) == {"image": "a" * 62}


def test_nothing_is_reserved_that_was_not_asked_for() -> None:
    run = planned(SHARED)
    request = build(run, run.jobs[0], 1, {}).request
    assert sorted(request) == ["entrypoint", "metadata", "runtime_env", "submission_id"]
    asked = planned(
        {
            **SHARED,
            "cpus": 2,
            "gpus": 1,
            "memory_limit": "1g",
            "entrypoint_resources": {"slot": 1},
            "entrypoint_label_selector": {"zone": "here"},
        }
    )
    request = build(asked, asked.jobs[0], 1, {}).request
    assert {name: value for name, value in request.items() if name.startswith("entrypoint_")} == {
        "entrypoint_num_cpus": 2,
        "entrypoint_num_gpus": 1,
        "entrypoint_memory": 1 << 30,
        "entrypoint_resources": {"slot": 1},
        "entrypoint_label_selector": {"zone": "here"},
    }


def test_variables_are_strings_and_the_driver_wins() -> None:
    run = planned({**SHARED, "env_vars": {"A": "lit:1", "B": "lit:x y", "GONE": "host:GONE?"}})
    variables = build(run, run.jobs[0], 1, {}).request["runtime_env"]["env_vars"]
    assert variables == {
        "A": "1",
        "B": "x y",
        "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
        "RAY_JOB_STOP_WAIT_TIME_S": "25",
    }
    assert all(isinstance(value, str) for value in variables.values())
    numbers = changed(run, env={"N": 3, "T": True})
    sent = build(numbers, numbers.jobs[0], 1, {}).request["runtime_env"]["env_vars"]
    assert (sent["N"], sent["T"]) == ("3", "True")


def test_ids_are_the_same_again_and_safe() -> None:
    assert submission_id("0123-004", 2) == "evaldock-0123-004-2"
    assert submission_id("a/..x y", 1) == "evaldock-a-x-y-1"


def test_the_same_files_make_the_same_package() -> None:
    run = planned({})
    first, again = (build(run, run.jobs[0], 1, {}) for _ in range(2))
    assert first.package == again.package
    assert build(run, run.jobs[0], 2, {}).package != first.package
    assert content_digest({"a": (b"bc", 0o644)}) != content_digest({"ab": (b"c", 0o644)})


def test_a_folder_s_name_is_quoted_in_the_entry_point(tmp_path: Path) -> None:
    odd = f"{tmp_path}/sh ared'$(touch {tmp_path}/pwned)`touch {tmp_path}/pwned`\""
    run = planned({**SHARED, "shared_dir": odd, "container_runtime": "docker"})
    entry = build(run, run.jobs[0], 1, {}).request["entrypoint"]
    script = Path(odd, run.run_id, run.jobs[0].directory, "ray.sh")
    missing = subprocess.run(["sh", "-c", entry], check=False, capture_output=True, text=True)
    assert missing.returncode == 70
    script.parent.mkdir(parents=True)
    script.write_text("echo started")
    there = subprocess.run(["sh", "-c", entry], check=False, capture_output=True, text=True)
    assert (there.returncode, there.stdout, there.stderr) == (0, "started\n", "")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("execution", [SHARED, {"node_dir": "/tmp/n"}], ids=["shared", "sent"])
def test_what_ray_starts_is_posix_shell(execution: Mapping[str, Any], tmp_path: Path) -> None:
    run = planned(execution)
    (script,) = (
        text for name, text in ray.plan(run, run.jobs[0])["scripts"].items() if name.endswith("ray.sh")
    )
    file = tmp_path / "ray.sh"
    file.write_text(script)
    subprocess.run(["sh", "-n", str(file)], check=True)
    assert "@" not in script.replace("$@", "")


# Secrets

KEY = {"evaluation": {"tasks": ["quickcheck.chat"], "env_vars": {"KEY": "host:KEY"}}}


def test_a_secret_without_a_safe_way_to_the_node_is_a_mistake() -> None:
    with pytest.raises(InvalidInput) as caught:
        planned({}, {"KEY": "s3cret"}, **KEY)
    assert str(caught.value) == (
        "this run can't be planned:\n"
        "  - execution: KEY can't be handed to a Ray node safely; write runtime:NAME for what is set on the "
        "nodes, set shared_dir for a file that only its owner can read, or opt in with forward_secrets: "
        "runtime_env"
    )
    planned(
        {}, {"KEY": "s3cret"}, evaluation={"tasks": ["quickcheck.chat"], "env_vars": {"KEY": "runtime:KEY"}}
    )


def test_a_secret_goes_into_a_file_of_its_owner_on_shared_storage() -> None:
    run = planned(SHARED, {"KEY": "s3cret"}, **KEY)
    sent = build(run, run.jobs[0], 1, {"KEY": "s3cret"})
    assert sent.files[".secrets"] == (b"export KEY=s3cret\n", 0o600)
    rest = {name: content for name, (content, _) in sent.files.items() if name != ".secrets"}
    assert b"s3cret" not in b"".join(rest.values())
    assert "s3cret" not in json.dumps(sent.request)


def test_two_secrets_of_one_name_have_no_room_in_one_environment() -> None:
    """A file for each has."""
    own, servers = SecretName(name="TOKEN", source="OWN"), SecretName(name="TOKEN", source="SERVERS")
    server = Deployment(type="generic", image=None, command=("serve",), port=1, secrets=(servers,))
    values = {"OWN": "mine", "SERVERS": "its"}
    run = changed(planned(SHARED), secrets=(own,), deployment=server)
    sent = build(run, run.jobs[0], 1, values)
    assert sent.files[".secrets"][0] == b"export TOKEN=mine\n"
    assert sent.files["server/.secrets"][0] == b"export TOKEN=its\n"
    forwarded = replace(run, settings={**run.settings, "forward_secrets": "runtime_env"})
    with pytest.raises(Refused, match="call two secrets TOKEN, and forward_secrets"):
        build(forwarded, forwarded.jobs[0], 1, values)


def test_forwarding_secrets_is_asked_for_and_warned_of() -> None:
    whole = {"type": "ray", "dashboard_url": URL, "forward_secrets": "runtime_env"}
    target = {"api_endpoint": {"url": "http://127.0.0.1:1/v1", "model_id": "m"}}
    made = plan_run(
        catalog(),
        config({"execution": whole, "target": target, **KEY}),
        environ={"KEY": "s3cret"},
        run_id="0123456789abcdef",
        directory=Path("/runs/one"),
    )
    assert made.warnings == (
        "forward_secrets: KEY will stand in the job's runtime_env, where everybody who reaches the cluster's "
        "API can read them",
    )
    run = made.plan
    sent = build(run, run.jobs[0], 1, {"KEY": "s3cret"})
    assert sent.request["runtime_env"]["env_vars"]["KEY"] == "s3cret"
    assert b"s3cret" not in b"".join(content for content, _ in sent.files.values())
    assert "s3cret" not in json.dumps(ray.plan(run, run.jobs[0]))


def test_without_shared_storage_no_value_is_packed() -> None:
    run = planned({})
    run = changed(run, secrets=(SecretName(name="KEY", source="KEY"),))
    sent = build(run, run.jobs[0], 1, {"KEY": "s3cret"})
    assert sent.package is not None
    assert b"s3cret" not in b"".join(content for content, _ in sent.files.values())


def test_gpus_are_counted() -> None:
    with pytest.raises(InvalidInput, match="a Ray job asks for a number of GPUs"):
        planned({"gpus": "all"})
    run = changed(planned(SHARED), resources=Resources(gpu_ids=("0", "2")))
    assert build(run, run.jobs[0], 1, {}).request["entrypoint_num_gpus"] == 2


def test_what_ray_does_not_do_for_a_job() -> None:
    run = planned({})
    settings = RayExecution(dashboard_url=URL, container_runtime="docker")
    assert settings.check(changed(run, resources=Resources(gpus=1)).jobs) == ([], [])
    assert settings.check(changed(run, resources=Resources(gpu_ids=("0",))).jobs) == (
        [],
        [
            "a container gets the GPUs that the configuration names, whichever Ray reserves for its job: "
            "with several jobs on a node they may meet; with a number of them it gets the reserved ones"
        ],
    )
    assert settings.check(run.jobs) == ([], [])
