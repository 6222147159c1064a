"""Models served by endpoints of a workspace: found, made for a run, waited for, always removed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, Unreachable
from launched import python, states, supervise, until
from launcher import lepton_endpoints
from launcher.backends import lepton_api, lepton_stream
from launcher.backends.environments import ensure
from launcher.backends.protocol import load
from launcher.jobs import RunPlan, State
from launcher.plans import endpoint_names, served_models
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import give_up, request_stop, resume, tick
from planned_runs import HARNESSES, plan
from running import evaldock
from services.lepton import Lepton
from services.processes import free_port

ROOT = Path(__file__).parents[3]
PAUSE = {"EVALDOCK_RETRY_PAUSE": "0.1"}


@pytest.fixture
def served(lepton: Lepton, environments: Path, monkeypatch: pytest.MonkeyPatch) -> Lepton:
    """Its images hold quickcheck."""
    monkeypatch.setenv("EVALDOCK_CACHE", str(environments))
    programs = ensure(["./harnesses/quickcheck"], HARNESSES.parent) / "bin"
    lepton.change(settings={"path": [str(programs)]})
    return lepton


def standin_command(port: int) -> list[str]:
    return [sys.executable, "-m", "catalog.cli", "standin", "--port", str(port)]


def planned(folder: Path, deployment: Mapping[str, Any] | None = None, **execution: Any) -> RunPlan:
    """quickcheck, two samples; with a deployment, of a model that is served for the run."""
    data: dict[str, Any] = {
        "execution": {
            "type": "lepton",
            "resource_shape": "cpu.small",
            "output_dir": str(folder / "container"),
            **execution,
        },
        "target": {"api_endpoint": {"model_id": "stand-in"}},
        "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 2}}]},
    }
    if deployment is None:
        data["target"]["api_endpoint"] |= {"type": "lepton", "deployment_name": "my-model"}
    else:
        data["deployment"] = {"type": "generic", "image": "registry.example/server:1", **deployment}
    return plan(data, directory=folder / "run", identity=run_id.new())


def deployed(folder: Path, **more: Any) -> RunPlan:
    port = free_port()
    env = {"PYTHONPATH": f"lit:{ROOT}"}
    return planned(folder, {"command": standin_command(port), "port": port, "env_vars": env, **more})


@pytest.mark.parametrize("new_api", [False, True], ids=["deployments", "endpoints"])
def test_a_model_is_served_for_a_run_and_removed_with_it(
    served: Lepton, tmp_path: Path, database: Database, new_api: bool
) -> None:
    served.change(settings={"new_api": new_api})
    run = deployed(tmp_path)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    left = served.look()
    assert left["endpoints"] == {}
    assert left["secrets"] == []
    assert "stand-in" in (Path(run.directory) / "endpoint.log").read_text()
    assert served_models.marked(database.path.parent) == {}
    # The token stood in the workspace's secret alone.
    (job,) = left["jobs"].values()
    references = [variable["value_from"] for variable in job["spec"]["envs"]]
    assert references == [{"secret_name_ref": f"evaldock-{run.run_id}"}]


def test_the_endpoints_token_stands_nowhere_but_in_the_workspace(
    served: Lepton, tmp_path: Path, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    run = deployed(tmp_path)
    database.record(run)
    tick(database, run.run_id, PAUSE)
    (endpoint,) = served.look()["endpoints"].values()
    token = endpoint["spec"]["api_tokens"][0]["value"]
    assert len(token) > 40
    (row,) = supervise(database, run)
    assert row.state is State.SUCCEEDED
    said = "".join(capfd.readouterr())
    said += subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"runs.db", "endpoint.json", "run.sh", "job.log"} <= {path.name for path in written}
    for path in written:
        assert token.encode() not in path.read_bytes(), path
    assert token not in said


def test_a_model_that_is_served_already_is_asked_and_stays(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    serve(served, "my-model", standin_command(port := free_port()), port)
    run = planned(tmp_path)
    assert run.jobs[0].endpoint.url == "https://my-model.lepton.invalid/v1/chat/completions"
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert list(served.look()["endpoints"]) == ["my-model"]
    written = Path(run.directory, run.jobs[0].directory, "run_config.yml").read_text()
    assert f"{served.host}/serve/{served.name}/my-model/v1/chat/completions" in written


def test_a_run_on_this_machine_asks_it_too(served: Lepton, tmp_path: Path, database: Database) -> None:
    serve(served, "my-model", standin_command(port := free_port()), port)
    target = {"model_id": "stand-in", "type": "lepton", "deployment_name": "my-model"}
    data = {
        "execution": {"type": "process"},
        "target": {"api_endpoint": target},
        "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 2}}]},
    }
    run = plan(data, directory=tmp_path / "run", identity=run_id.new())
    database.record(run)
    assert states(supervise(database, run)) == [State.SUCCEEDED]


def test_an_endpoint_that_is_not_there_or_of_no_use_fails_the_job(
    served: Lepton, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path / "a")
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.FAILED
    assert str(row.reason).startswith("not submitted: the workspace has no endpoint 'my-model'")
    serve(served, "my-model", ["sleep", "60"], free_port())
    late = planned(tmp_path / "late")
    database.record(late)
    (row,) = tick(database, late.run_id, PAUSE)
    assert str(row.reason).startswith("the endpoint my-model is not ready yet (Lepton says Starting)")
    monkeypatch.setattr(lepton_endpoints, "DEADLINE", 0.0)
    (row,) = supervise(database, late)
    assert str(row.reason).endswith("is not ready yet (Lepton says Starting), after 0 seconds")
    served.change(force={"my-model": "Stopped"})
    run = planned(tmp_path / "b")
    database.record(run)
    (row,) = supervise(database, run)
    assert str(row.reason).startswith(
        "not submitted: the endpoint my-model is of no use: Lepton says Stopped"
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (
            "echo no such model; exit 3",
            "the endpoint evaldock-{} is of no use: Lepton says Error; its last lines:\nno such model",
        ),
        ("sleep 60", "the endpoint evaldock-{} is not ready yet (Lepton says Starting), after 1 seconds"),
    ],
    ids=["dies", "never-ready"],
)
def test_a_server_that_does_not_come_up_fails_the_job_and_goes(
    served: Lepton, tmp_path: Path, database: Database, command: str, reason: str
) -> None:
    run = deployed(tmp_path, command=["/bin/sh", "-c", command], deadline=1)
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.FAILED
    assert str(row.reason).startswith("not submitted: " + reason.format(run.run_id))
    left = served.look()
    assert (left["endpoints"], left["secrets"], left["jobs"]) == ({}, [], {})


def test_a_run_that_is_stopped_while_its_model_starts_leaves_nothing(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    run = deployed(tmp_path, command=["sleep", "600"])
    database.record(run)
    (row,) = tick(database, run.run_id, PAUSE)
    assert row.state is State.PLANNED
    assert str(row.reason).startswith(
        f"the endpoint evaldock-{run.run_id} is not ready yet (Lepton says Starting)"
    )
    assert not row.not_before
    request_stop(database, run.run_id)
    assert states(supervise(database, run)) == [State.CANCELLED]
    left = served.look()
    assert (left["endpoints"], left["secrets"]) == ({}, [])


def test_a_server_that_prints_all_the_time_goes_all_the_same(
    served: Lepton, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lepton_stream, "SECONDS", 1.0)
    chatters = ["/bin/sh", "-c", "while :; do echo again; sleep 0.2; done"]
    run = deployed(tmp_path, command=chatters)
    database.record(run)
    tick(database, run.run_id, PAUSE)
    request_stop(database, run.run_id)
    began = time.monotonic()
    assert states(supervise(database, run)) == [State.CANCELLED]
    assert time.monotonic() - began < 10
    assert served.look()["endpoints"] == {}
    assert "again" in (Path(run.directory) / "endpoint.log").read_text()


def test_a_workspace_that_can_not_be_asked_is_not_taken_for_an_old_one(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    served.change(settings={"new_api": True})
    # More often than the client asks.
    served.fault("GET /workspace", 503, times=3)
    run = deployed(tmp_path)
    database.record(run)
    (row,) = tick(database, run.run_id, PAUSE)
    assert row.state is State.PLANNED
    assert str(row.reason).startswith(f"nobody says what kind of endpoints {served.name} has: ")
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    left = served.look()
    assert (left["endpoints"], left["secrets"]) == ({}, [])
    assert not any(name.endswith("/deployments") for name in left["counted"])


DIES = """
import os, sys
from pathlib import Path
from launcher.backends import lepton_api
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
create = lepton_api.Lepton.create_endpoint
def dies(self, body):
    create(self, body)
    os._exit(9)
lepton_api.Lepton.create_endpoint = dies
tick(Database(Path(sys.argv[1])), sys.argv[2], {})
"""


def test_what_a_dead_launcher_made_is_found_used_and_removed(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    run = deployed(tmp_path)
    database.record(run)
    dead = python(DIES, str(database.path), run.run_id)
    assert (dead.communicate(timeout=60), dead.returncode)[1] == 9
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    left = served.look()
    assert (left["endpoints"], left["secrets"]) == ({}, [])
    assert left["counted"].get("POST /deployments") == 1


def test_what_could_not_be_removed_goes_with_the_next_command(
    served: Lepton, tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    run = deployed(tmp_path / "first", command=["/bin/sh", "-c", "exit 3"])
    database.record(run)
    served.fault("DELETE /deployments", 503, times=2)
    assert states(supervise(database, run)) == [State.FAILED]
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    assert "was not removed; the next command tries again" in caplog.text
    # Even where the run itself is forgotten.
    database.remove(run.run_id)
    other = planned(tmp_path / "other")
    database.record(other)
    tick(database, other.run_id, PAUSE)
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    mark = database.path.parent / endpoint_names.MARKS / run.run_id
    os.utime(mark, (0, 0))
    tick(database, other.run_id, PAUSE)
    left = served.look()
    assert (left["endpoints"], left["secrets"]) == ({}, [])
    assert not mark.exists()


@pytest.mark.parametrize("command", [["status"], ["tick"], ["kill", "--give-up"], ["adopt"], ["kill"]])
def test_commands_without_any_open_run_remove_what_was_left(
    served: Lepton,
    tmp_path: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    command: list[str],
) -> None:
    monkeypatch.setenv("EVALDOCK_STATE", str(database.path.parent))
    run = deployed(tmp_path / "first", command=["/bin/sh", "-c", "exit 3"])
    database.record(run)
    served.fault("DELETE /deployments", 503)
    supervise(database, run)
    other = planned(tmp_path / "other")
    database.record(other)
    give_up(database, other.run_id)
    named = {"kill": [other.run_id], "adopt": [f"{other.directory}/run.json"]}.get(command[0], [])
    warned = evaldock("doctor", "--backend", "process", "--catalog", HARNESSES.parent)
    assert f"was not removed: {run.run_id}" in warned.out
    served.fault("DELETE /deployments", 503)
    caplog.clear()
    ran = evaldock(*command, *named)
    assert ran.code == 0, ran.err
    assert "was not removed; the next command tries again" in caplog.text
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    # Not with every command of a loop.
    assert evaldock(*command, *named).code == 0
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    os.utime(database.path.parent / endpoint_names.MARKS / run.run_id, (0, 0))
    assert evaldock(*command, *named).code == 0
    left = served.look()
    assert (left["endpoints"], left["secrets"]) == ({}, [])


def test_an_endpoint_in_another_workspace_is_not_taken_for_removed(
    served: Lepton,
    elsewhere: Callable[[], AbstractContextManager[Lepton]],
    tmp_path: Path,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = deployed(tmp_path, command=["/bin/sh", "-c", "exit 3"])
    database.record(run)
    served.fault("DELETE /deployments", 503)
    supervise(database, run)
    mark = database.path.parent / endpoint_names.MARKS / run.run_id
    with elsewhere():
        tick(database, run.run_id, PAUSE)
        told = f"the endpoint evaldock-{run.run_id} is in Lepton's workspace {served.name}, and the"
        assert told in caplog.text
        # The folder may be gone, and the mark is all there is.
        os.utime(mark, (0, 0))
        with pytest.raises(Unreachable, match=f"is in Lepton's workspace {served.name}"):
            lepton_endpoints.release(run.run_id, None, run.settings, mark.parents[1])
    assert mark.exists()
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    tick(database, run.run_id, PAUSE)
    assert (served.look()["endpoints"], mark.exists()) == ({}, False)


def test_an_endpoint_that_is_still_going_is_made_again(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    served.change(settings={"lingers": 4})
    served.fault("POST /jobs", 422)
    run = deployed(tmp_path)
    database.record(run)
    assert states(supervise(database, run)) == [State.FAILED]
    assert list(served.look()["endpoints"]) == [f"evaldock-{run.run_id}"]
    assert served_models.marked(database.path.parent) == {}
    resume(database, run.run_id)
    (row,) = tick(database, run.run_id, PAUSE)
    assert row.state is State.PLANNED
    assert str(row.reason).endswith("is not ready yet (Lepton says Deleting)")
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    assert served.look()["counted"]["POST /deployments"] == 2


def test_an_answer_that_is_lost_makes_no_second_endpoint(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    served.fault("POST /deployments", "lose")
    served.fault("POST /usersecrets", "lose")
    run = deployed(tmp_path)
    database.record(run)
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    left = served.look()
    assert (left["endpoints"], left["secrets"]) == ({}, [])


def test_a_plan_shows_what_will_be_asked_and_opens_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    run = planned(
        tmp_path,
        {
            "type": "vllm",
            "hf_model_handle": "org/model",
            "extra_args": "--chat-template '$(X)'",
            "env_vars": {"HF_TOKEN": "HF_TOKEN", "MODE": "lit:fast"},
        },
        node_group="gpus",
        endpoint={"resource_shape": "gpu.a100-80g", "max_replicas": 2},
    )
    made = load("lepton").plan(run, run.jobs[0])
    assert run.jobs[0].endpoint.url == "https://deployment.lepton.invalid/v1/chat/completions"
    spec = made["endpoint"]["spec"]
    assert made["endpoint"]["metadata"]["name"] == f"evaldock-{run.run_id}"
    assert spec["container"]["command"][:3] == ["vllm", "serve", "org/model"]
    assert spec["container"]["command"][-1] == "$$(X)"
    assert spec["resource_requirement"] == {
        "resource_shape": "gpu.a100-80g",
        "min_replicas": 1,
        "max_replicas": 2,
        "affinity": {"allowed_dedicated_node_groups": ["gpus"]},
    }
    assert spec["envs"] == [
        {"name": "MODE", "value": "fast"},
        {"name": "HF_TOKEN", "value_from": {"secret_name_ref": "HF_TOKEN"}},
    ]
    assert spec["api_tokens"] == [{"value": "***"}]
    assert made["secrets"] == [f"evaldock-{run.run_id}"]


def test_an_endpoint_in_a_node_group_of_its_own_takes_nothing_of_the_jobs(
    served: Lepton, tmp_path: Path, database: Database
) -> None:
    served.change(settings={"node_groups": ["cpus", "gpus"]})
    jobs = {"node_group": "cpus", "node_names": "cpu-1", "reservation": "r", "priority": "mid-4000"}
    for serving, affinity in (
        ({"node_group": "gpus"}, {"allowed_dedicated_node_groups": ["gpus-1a2b"]}),
        (
            {},
            {
                "allowed_dedicated_node_groups": ["cpus-1a2b"],
                "allowed_nodes_in_node_group": ["cpu-1"],
            },
        ),
    ):
        port, env = free_port(), {"PYTHONPATH": f"lit:{ROOT}"}
        server = {"command": standin_command(port), "port": port, "env_vars": env}
        run = planned(tmp_path / f"with-{len(serving)}", server, endpoint=serving, **jobs)
        database.record(run)
        tick(database, run.run_id, PAUSE)
        spec = served.look()["endpoints"][f"evaldock-{run.run_id}"]["spec"]
        assert spec["resource_requirement"]["affinity"] == affinity
        assert bool(spec.get("queue_config")) == bool(spec.get("reservation_config")) == (not serving)
        assert states(supervise(database, run)) == [State.SUCCEEDED]


def test_settings_that_contradict_one_another_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as raised:
        planned(tmp_path, {"type": "nim", "image": None, "extra_args": "--x", "mounts": ["/models:/models"]})
    assert "deployment.image: a NIM is an image of its own" in str(raised.value)
    with pytest.raises(InvalidInput) as raised:
        planned(
            tmp_path, {"type": "nim", "image": "nim:1", "extra_args": "--x", "mounts": ["/models:/models"]}
        )
    assert "deployment.mounts: Lepton mounts no folders of machines" in str(raised.value)
    assert "deployment.extra_args: Lepton has no arguments" in str(raised.value)
    data = {
        "execution": {"type": "process"},
        "target": {"api_endpoint": {"model_id": "m", "type": "lepton"}},
        "evaluation": {"tasks": ["quickcheck.chat"]},
    }
    with pytest.raises(InvalidInput, match="deployment_name is not set: which endpoint"):
        plan(data)
    data["target"] = {"api_endpoint": {"model_id": "m", "url": "http://x/v1", "deployment_name": "a"}}
    with pytest.raises(InvalidInput, match="either url or deployment_name"):
        plan(data)


def serve(workspace: Lepton, name: str, command: Sequence[str], port: int) -> None:
    """An endpoint that is there before any run."""
    body = {
        "metadata": {"id": name, "name": name},
        "spec": {
            "container": {"image": "server:1", "command": [*command], "ports": [{"container_port": port}]},
            "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
            "envs": [{"name": "PYTHONPATH", "value": str(ROOT)}],
            "api_tokens": [],
        },
    }
    with lepton_api.connected({"api_url": workspace.url}) as lepton:
        lepton.create_endpoint(body)
    until(lambda: workspace.look()["endpoints"].get(name), "the endpoint is there")
