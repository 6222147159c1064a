"""The shapes in which a configuration says that it wants Ray, and where the cluster is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput
from catalog.normal_form import merge
from launcher.configuration.chosen_backend import settle
from launcher.configuration.compose import Composed, Layer
from launcher.configuration.model import Execution
from launcher.configuration.ray import ClusterResources, Preflight, RayExecution
from planned_runs import config, plan

URL = "http://head:8265"
TASKS = {"evaluation": {"tasks": ["quickcheck.chat"]}}


def execution(data: Mapping[str, Any], *stronger: Mapping[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = dict(data)
    for each in stronger:
        whole = merge(whole, each)
    layers = tuple(Layer("run.yaml", each) for each in (data, *stronger))
    settled = settle(Composed(whole, layers)).data
    found: dict[str, Any] = settled.get("execution", {})
    return found


def problems(data: Mapping[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        config({**TASKS, **data})
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["ray", " Ray ", "kubernetes-ray", "ray-kubernetes", "RAY_KUBERNETES", "Kubernetes Ray"]
)
@pytest.mark.parametrize("key", ["backend", "execution_backend"])
@pytest.mark.parametrize("nested", [False, True], ids=["top", "execution"])
@pytest.mark.parametrize("mapping", [False, True], ids=["string", "mapping"])
def test_ray_by_any_of_its_names(name: str, key: str, nested: bool, mapping: bool) -> None:
    said: Any = {"name": name, "dashboard_url": URL} if mapping else name
    place: dict[str, Any] = {key: said}
    if not mapping:
        place["execution"] = {"dashboard_url": URL}
    if nested:
        place = {"execution": {key: said, **place.get("execution", {})}}
    assert execution(place) == {"type": "ray", "precreated_cluster": True, "dashboard_url": URL}


@pytest.mark.parametrize("name", ["default", "none", " None ", "DEFAULT"])
def test_what_chooses_no_backend_changes_nothing(name: str) -> None:
    assert execution({"backend": name}) == {}
    assert execution({"execution": {"type": "process", "backend": {"name": name}}}) == {"type": "process"}


def test_another_backend_by_the_same_keys() -> None:
    assert execution({"backend": "process"}) == {"type": "process"}
    assert execution({"backend": {"name": "Docker", "network": "host"}}) == {
        "type": "docker",
        "network": "host",
    }


@pytest.mark.parametrize("chosen", ["process", "docker", "slurm"])
def test_who_says_later_where_to_run_wins(chosen: str) -> None:
    """As --backend, a profile or an override does."""
    file = {"backend": {"name": "ray", "dashboard_url": URL}, "preflight": {"enabled": True}}
    later = {"execution": {"type": chosen}}
    assert execution(file, later) == {"type": chosen}
    assert execution({"backend": "docker"}, later) == {"type": chosen}
    assert execution(later, {"backend": {"name": "ray", "dashboard_url": URL}})["type"] == "ray"
    assert (
        execution({"backend": "docker"}, {"execution": {"type": "ray", "dashboard_url": URL}})["type"]
        == "ray"
    )


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("slurm", "slurm"),
        ("docker", "local"),
        ("docker", "Docker"),
        ("ray", "ray"),
        ("kubernetes-ray", "ray"),
    ],
)
def test_the_same_said_again_takes_nothing_away(name: str, again: str) -> None:
    own = {"dashboard_url": URL} if "ray" in name else {"network": "host"}
    found = execution({"backend": {"name": name, **own}}, {"execution": {"type": again, "qos": "high"}})
    assert found.items() >= {**own, "qos": "high"}.items()
    assert found["type"] == ("ray" if "ray" in name else name)


def test_slurm_said_later_starts_a_ray_that_is_nowhere_yet() -> None:
    later = {"execution": {"type": "slurm", "account": "a"}}
    assert execution({"backend": "ray"}, later) == {"type": "slurm", "account": "a", "with_ray": True}


def test_an_unknown_name_lists_those_that_are_known() -> None:
    assert problems({"backend": "raay"}) == (
        "the configuration has mistakes:\n"
        "  - backend: no backend 'raay'; did you mean 'ray'?; there are default, docker, kubernetes-ray, "
        "lepton, local, none, process, ray, ray-kubernetes, slurm"
    )
    assert "execution.backend.name: says which backend it is" in problems(
        {"execution": {"backend": {"dashboard_url": URL}}}
    )


def test_two_backends_at_a_time_are_a_mistake() -> None:
    said = problems({"backend": {"name": "ray", "dashboard_url": URL}, "execution_backend": "docker"})
    assert "one backend at a time: backend says 'ray', execution_backend says 'docker'" in said


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "ray://head:10001"},
        {"ray_endpoint": "ray://head:10001"},
        {"kubernetes": {"endpoint": "ray://head:10001"}},
        {"endpoint": "ray://head:10001", "ray_endpoint": "ray://other:10001"},
    ],
)
def test_the_dashboard_follows_from_an_endpoint(given: Mapping[str, Any]) -> None:
    found = execution({"backend": {"name": "ray", "control_plane": "kubernetes", **given}})
    assert found == {
        "type": "ray",
        "precreated_cluster": True,
        "dashboard_url": "http://head:8265",
        "endpoint": "ray://head:10001",
    }


@pytest.mark.parametrize(
    "given",
    [
        {"dashboard_url": "https://ray.example/"},
        {"jobs_api_url": "https://ray.example"},
        {"kubernetes": {"dashboard_url": "https://ray.example"}},
        {"kubernetes": {"dashboard_url": "https://ray.example", "endpoint": "ray://head:10001"}},
    ],
)
def test_a_dashboard_that_is_named_wins(given: Mapping[str, Any]) -> None:
    assert execution({"backend": {"name": "ray", **given}})["dashboard_url"] == "https://ray.example"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("head:10001", "http://head:8265"),
        ("ray://[::1]:10001", "http://[::1]:8265"),
        ("http://head:9000/", "http://head:9000"),
    ],
)
def test_other_spellings_of_an_endpoint(endpoint: str, url: str) -> None:
    assert execution({"backend": {"name": "ray", "endpoint": endpoint}})["dashboard_url"] == url


def test_endpoints_that_name_no_cluster() -> None:
    assert "'auto' names no host" in problems({"backend": {"name": "ray", "endpoint": "auto"}})
    assert "expected ray://HOST:PORT, got 'ftp://head'" in problems(
        {"backend": {"name": "ray", "endpoint": "ftp://head"}}
    )
    said = problems({"backend": {"name": "ray", "dashboard_url": "ray://head:10001"}})
    assert "an address of Ray Client is given as `endpoint`" in said
    said = problems({"backend": {"name": "ray", "dashboard_url": "http://user:hunter2@head:8265"}})
    assert "a password in an address ends up in plans and logs" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("flag", [None, True, False])
def test_a_cluster_with_an_address_is_precreated(flag: bool | None) -> None:
    given = {} if flag is None else {"precreated_cluster": flag}
    for executor in ("none", "slurm"):
        found = execution({"executor": executor, "backend": {"name": "ray", "dashboard_url": URL, **given}})
        assert (found["type"], found["precreated_cluster"]) == ("ray", True)
        assert "with_ray" not in found


@pytest.mark.parametrize("flag", [True, "true"])
@pytest.mark.parametrize("executor", ["slurm", "none", None])
def test_a_precreated_cluster_never_gets_an_embedded_one(executor: str | None, flag: object) -> None:
    given = {"executor": executor} if executor else {}
    said = problems({**given, "backend": {"name": "ray", "precreated_cluster": flag}})
    assert (
        "  - dashboard_url: precreated_cluster is set, but neither endpoint nor dashboard_url says where the "
        "cluster is (dashboard_url: http://HEAD:8265)"
    ) in said


@pytest.mark.parametrize("executor", ["none", "local", "process", None])
def test_neither_endpoint_nor_dashboard_where_nothing_embeds_a_cluster(executor: str | None) -> None:
    given = {"executor": executor} if executor else {}
    start = f"executor {executor!r} can't start one" if executor else "nothing here can start one"
    assert (
        f"  - dashboard_url: the Ray backend needs a cluster, and {start}; set dashboard_url "
        "(http://HEAD:8265) or endpoint (ray://HEAD:10001), or `executor: slurm` to have one started inside "
        "a Slurm job"
    ) in problems({**given, "backend": "ray"})


@pytest.mark.parametrize(
    "data",
    [
        {"executor": "slurm", "backend": "ray"},
        {"backend": "ray", "execution": {"type": "slurm"}},
        {"with_ray": True, "execution": {"type": "slurm"}},
        {"executor": "slurm", "execution": {"with_ray": True}},
        {"backend": "slurm", "with_ray": True},
        {"backend": {"name": "slurm", "with_ray": True}},
        {"backend": "ray", "executor": "slurm", "preflight": {"enabled": False}},
    ],
)
def test_ray_inside_slurm(data: Mapping[str, Any]) -> None:
    assert execution(data) == {"type": "slurm", "with_ray": True}


def test_the_older_flag() -> None:
    assert execution({"with_ray": True, "execution": {"dashboard_url": URL}})["type"] == "ray"
    assert execution({"with_ray": False, "execution": {"type": "process"}}) == {"type": "process"}
    assert "with_ray needs a cluster, and executor 'none' can't start one" in problems(
        {"with_ray": True, "executor": "none"}
    )


def test_an_executor_that_does_not_go_with_ray() -> None:
    assert "executor: 'lsf' can't go with Ray; there are none, local, docker, process, slurm" in problems(
        {"executor": "lsf", "backend": {"name": "ray", "dashboard_url": URL}}
    )


def test_a_setting_said_twice() -> None:
    said = problems(
        {"backend": {"name": "ray", "dashboard_url": URL}, "execution": {"dashboard_url": "http://other:1"}}
    )
    assert "dashboard_url: said twice, under execution and beside the backend's name" in said


def test_preflight_stands_at_the_top() -> None:
    found = execution({"backend": {"name": "ray", "dashboard_url": URL}, "preflight": {"enabled": True}})
    assert found["preflight"] == {"enabled": True}
    said = problems({"backend": {"name": "ray", "dashboard_url": URL, "preflight": {"enabled": True}}})
    assert "preflight: stands at the top of the configuration, not under the backend" in said
    assert "execution.preflight.min_gpus" in problems(
        {"backend": {"name": "ray", "dashboard_url": URL}, "preflight": {"min_gpus": 1}}
    )


def test_there_is_nothing_to_look_at_before_a_cluster_is_started() -> None:
    said = problems(
        {"backend": "ray", "executor": "slurm", "preflight": {"min_cluster_resources": {"cpu": 4}}}
    )
    assert "preflight: looks at a cluster that stands already" in said
    assert "set preflight.enabled: false" in said


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"env_vars": {"KEY": "runtime:KEY"}}, ("KEY", "runtime")),
        ({"env_vars": {"KEY": "host:MINE"}}, ("MINE", "host")),
        ({"env_vars": {"KEY": "lit:x"}}, None),
        ({}, ("KEY", "host")),
    ],
)
def test_what_is_required_may_be_given_in_any_way(
    given: dict[str, Any], source: tuple[str, str] | None
) -> None:
    data = {
        "execution": {
            "type": "slurm",
            "hostname": "h",
            "output_dir": "/x",
            "container_runtime": "none",
            **given,
        },
        "evaluation": {**TASKS["evaluation"], "required_env_vars": ["KEY"]},
    }
    (job,) = plan(data, environ={"MINE": "1", "KEY": "2"} if source != ("KEY", "runtime") else {}).jobs
    assert [(secret.source, secret.where) for secret in job.secrets] == ([source] if source else [])
    with pytest.raises(InvalidInput, match="the variable KEY is not set"):
        plan({**data, "execution": {**data["execution"], "env_vars": {"KEY": "host:KEY?"}}})


def test_variables_of_a_cluster_configuration() -> None:
    data = {
        "backend": {"name": "ray", "dashboard_url": URL, "forward_secrets": "runtime_env"},
        "env_vars": ["HF_HOME=/cache", "SET_HERE", "NOT_SET"],
        "required_env_vars": ["NEEDED"],
        "execution": {"env_vars": {"COUNT": 3, "QUIET": True, "GONE": None, "OTHER": "lit:x"}},
        **TASKS,
    }
    (job,) = plan(data, environ={"SET_HERE": "1", "NEEDED": "2"}).jobs
    assert dict(job.env) == {"HF_HOME": "/cache", "COUNT": "3", "QUIET": "true", "OTHER": "x"}
    assert {secret.name for secret in job.secrets} == {"SET_HERE", "NEEDED"}
    with pytest.raises(InvalidInput, match=r"the variable NEEDED is not set"):
        plan(data, environ={"SET_HERE": "1"})


def test_an_old_style_configuration_plans() -> None:
    run = plan(
        {"backend": {"name": "kubernetes-ray", "kubernetes": {"endpoint": "ray://head:10001"}}, **TASKS}
    )
    assert (run.backend, run.remote) == ("ray", f"/tmp/evaldock-ray/{run.run_id}")
    assert run.settings["dashboard_url"] == "http://head:8265"


def test_every_setting_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "ray.md").read_text()
    table = {
        line.split("`")[1] for line in page.partition("## All settings")[2].splitlines() if "| `" in line[:4]
    }
    assert table == set(RayExecution.model_fields) - set(Execution.model_fields)
    known = {*Preflight.model_fields, *ClusterResources.model_fields}
    assert {name for name in known if f"{name}:" not in page} == set()


def test_ray_inside_slurm_plans() -> None:
    inside = {"hostname": "login", "output_dir": "/shared", "container_runtime": "none"}
    run = plan({"executor": "slurm", "backend": "ray", "execution": inside, **TASKS})
    assert (run.backend, run.settings["with_ray"]) == ("slurm", True)
    precreated = {"name": "ray", "dashboard_url": URL}
    assert plan({"executor": "slurm", "backend": precreated, **TASKS}).backend == "ray"
