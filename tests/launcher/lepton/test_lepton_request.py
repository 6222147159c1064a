"""What is sent to Lepton for a job, and which configurations can't be meant."""

from __future__ import annotations

import base64
import dataclasses
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, Refused
from launched import Place, changed
from launcher.backends import lepton as backend
from launcher.backends import lepton_api, lepton_job
from launcher.configuration import lepton as settings
from launcher.configuration.model import Execution
from launcher.node.job_script import run_config
from launcher.node.result_stream import SENDING, receive
from planned_runs import plan

EVERYTHING: Mapping[str, Any] = {
    "execution": {
        "type": "lepton",
        "resource_shape": "gpu.a100-80g",
        "node_group": "group",
        "node_names": ["node-1"],
        "reservation": "res-1",
        "priority": "mid-4000",
        "visibility": "private",
        "image_pull_secrets": "pull",
        "shm_size": "16g",
        "mounts": [
            {"from": "node-nfs:shared", "path": "/evals", "mount_path": "/evals"},
            "/data:/data:node-local",
            {"from": "node-nfs:shared", "path": "/models", "mount_path": "/models", "read_only": True},
        ],
        "output_dir": "/evals/runs",
        "env_vars": {"NGC_API_KEY": "NGC_API_KEY", "HF_TOKEN": "TOKEN_OF_HF", "MODE": "lit:fast"},
    },
    "target": {"api_endpoint": {"model_id": "m", "url": "http://x/v1", "api_key_name": "API_KEY"}},
    "evaluation": {"tasks": ["quickcheck.chat"], "required_env_vars": ["NEEDED"]},
}
SECRETS = ("API_KEY", "NEEDED", "NGC_API_KEY", "TOKEN_OF_HF")
SENT: Mapping[str, Any] = {
    "metadata": {
        "id": "evaldock-0123456789abcdef-000-1",
        "labels": {
            "evaldock-key": "0123456789abcdef-000",
            "evaldock-attempt": "1",
            "evaldock-run": "0123456789abcdef",
        },
        "visibility": "private",
    },
    "spec": {
        "resource_shape": "gpu.a100-80g",
        "container": {"image": "registry.example/evals/quickcheck@sha256:" + "1" * 64},
        "completions": 1,
        "parallelism": 1,
        "max_failure_retry": 0,
        "max_job_failure_retry": 0,
        "envs": [{"name": name, "value_from": {"secret_name_ref": name}} for name in SECRETS],
        "mounts": [
            {"from": "node-nfs:shared", "path": "/evals", "mount_path": "/evals"},
            {"from": "node-local", "path": "/data", "mount_path": "/data"},
            {
                "from": "node-nfs:shared",
                "path": "/models",
                "mount_path": "/models",
                "mount_options": {"read_only": True},
            },
        ],
        "image_pull_secrets": ["pull"],
        "ttl_seconds_after_finished": 259200,
        "log": {"enable_collection": True, "save_termination_logs": True},
        "affinity": {
            "allowed_dedicated_node_groups": ["group"],
            "allowed_nodes_in_node_group": ["node-1"],
        },
        "queue_config": {"priority_class": "mid-4000"},
        "reservation_config": {"reservation_id": "res-1"},
        "shared_memory_size": 16384,
    },
}


def test_what_is_sent_says_it_all_and_names_nothing_of_this_machine(tmp_path: Path) -> None:
    run = plan(EVERYTHING, directory=tmp_path / "here")
    made = backend.plan(run, run.jobs[0])
    assert str(tmp_path) not in json.dumps(made)
    command = made["job"]["spec"]["container"].pop("command")
    assert command[:2] == ["/bin/sh", "-c"]
    script = made["scripts"]["lepton.sh"]
    assert base64.b64decode(command[4]).decode() == script
    assert str(tmp_path) not in script
    assert "--output-dir /evals/runs/0123456789abcdef/jobs/000-quickcheck.chat-m/artifacts" in script
    assert sorted(made["secrets"]) == list(SECRETS)
    assert made["job"] == SENT


def test_the_client_takes_it_as_it_is_and_drops_nothing_of_it(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, lepton_api._quiet():
        patch.setenv("HOME", str(tmp_path))
        from leptonai.api.v2.job_validation import validate_job_create  # noqa: PLC0415
        from leptonai.api.v2.types.job import LeptonJob  # noqa: PLC0415

        job = LeptonJob(**SENT)
        validate_job_create(job)
        sent = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert sent["metadata"] == SENT["metadata"]
    assert sent["spec"] == SENT["spec"]


@pytest.mark.parametrize(
    ("execution", "problem"),
    [
        ({}, "execution.resource_shape (run.yaml): field required"),
        ({"num_replicas": 2}, "quickcheck.chat: 2 replicas would each do all of it"),
        ({"cpus": 4}, "cpus means nothing on Lepton: resource_shape says what a job gets"),
        ({"output_dir": "results"}, "expected a whole path, got 'results'"),
        ({"output_dir_here": "/mnt"}, "output_dir, which lies on none of the mounts"),
        ({"mounts": ["/a:/b"]}, "expected from, path and mount_path, or PATH:MOUNT_PATH:VOLUME"),
        ({"mounts": [{"from": "x", "path": "a", "mount_path": "/b"}]}, "should match pattern"),
        ({"resource_shap": "x"}, "no such setting; did you mean 'resource_shape'?"),
    ],
)
def test_a_configuration_that_can_not_be_meant_is_told(execution: Mapping[str, Any], problem: str) -> None:
    shape = {} if "resource_shap" in execution or not execution else {"resource_shape": "cpu.small"}
    data = {
        "execution": {"type": "lepton", **shape, **execution},
        "evaluation": {"tasks": ["quickcheck.chat"]},
    }
    with pytest.raises(InvalidInput) as raised:
        plan(data)
    assert problem in str(raised.value)


@pytest.mark.parametrize(("name", "attempt"), [("first.sh", 1), ("again.sh", 2)])
def test_the_containers_script_is_the_one_that_is_kept(tmp_path: Path, name: str, attempt: int) -> None:
    """Without the parts that have tests of their own."""
    execution: dict[str, Any] = {"type": "lepton", "resource_shape": "cpu.small"}
    execution["output_dir"] = "/evals/runs"
    if attempt > 1:
        execution |= {"mounts": ["/evals:/evals:node-nfs:shared"], "output_dir_here": "/mnt/evals/runs"}
    run = plan({"execution": execution, "evaluation": {"tasks": ["quickcheck.chat"]}})
    if attempt > 1:
        run = changed(run, code="c" * 64, timeout=3600.0)
    text = lepton_job.script(run, run.jobs[0], attempt)
    written = json.dumps({**dataclasses.asdict(run.jobs[0]), "attempt": attempt}, ensure_ascii=False)
    for part, what in (
        (shlex.quote(lepton_job.run_sh(run, run.jobs[0], attempt)), "'RUN.SH'"),
        (shlex.quote(run_config(run.jobs[0]).decode()), "'RUN_CONFIG'"),
        (shlex.quote(written), "'JOB.JSON'"),
        (SENDING, "SENDING\n"),
    ):
        text = text.replace(part, what)
    golden, actual = Path(__file__).parent / "goldens" / name, tmp_path / name
    actual.write_text(text)
    assert text == golden.read_text(), f"if it is as it should be: cp {actual} {golden}"


def test_every_setting_and_state_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "lepton.md").read_text()
    own = {*settings.Lepton.model_fields, *settings.Serving.model_fields} - {*Execution.model_fields}
    assert {name for name in own if f"`{name}`" not in page} == set()
    states = {name for name in backend.STATES if f"{name}," in page or f"{name} |" in page}
    assert states == set(backend.STATES)


def test_the_script_runs_in_other_shells(place: Place, tmp_path: Path, shell: list[str]) -> None:
    run = changed(place.run(tmp_path, "echo printed; exit 3"), timeout=60.0)
    script = lepton_job.script(run, run.jobs[0], 1)
    done = subprocess.run([*shell, "-c", script, "evaldock"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (3, b"")
    received = receive(done.stdout)
    assert received.log == b"printed\n"
    assert received.exit is not None
    assert received.exit.exit_code == 3
    assert received.packed is not None


def test_too_much_code_for_a_command_is_refused() -> None:
    assert "".join(lepton_job.pieces(b"x" * 200_000)) == base64.b64encode(b"x" * 200_000).decode()
    assert max(len(piece) for piece in lepton_job.pieces(b"x" * 200_000)) < 128 << 10
    with pytest.raises(Refused, match="the shipped code has 900000 bytes when it is packed"):
        lepton_job.pieces(b"x" * 900_000)


def test_the_clients_library_is_loaded_on_use() -> None:
    code = (
        "import sys, launcher.backends.lepton, launcher.lepton_endpoints, launcher.runs.supervisor;"
        "print([n for n in sys.modules if n.partition('.')[0] in ('leptonai', 'requests', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
