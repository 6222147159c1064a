"""A model server beside the evaluation: started, waited for, asked under the injected URL, always ended.

Lepton serves models by endpoints of their own: see tests/launcher/lepton.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from job_places import on
from launched import RESULTS, Place, changed, here, supervise, there, wait_for
from launcher.backends import processes
from launcher.jobs import Deployment, Mount, RunPlan, SecretName, State
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, tick
from planned_runs import HARNESSES, plan
from services.engine import Engine
from services.processes import free_port

ROOT = Path(__file__).parents[3]
SERVE = """
import asyncio, sys
sys.path.insert(0, "{root}")
from launcher.standin.server import Standin
async def serve():
    print("the stand-in is up", flush=True)
    async with await Standin().serve(port={port}) as server:
        await server.serve_forever()
asyncio.run(serve())
"""
IDLE = "trap 'exit 0' TERM; sleep 600 & wait"
Serving = Callable[..., Deployment]
pytestmark = on(serves=True)


@pytest.fixture(autouse=True)
def shared_cache(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALDOCK_CACHE", str(environments))


@pytest.fixture
def image(place: Place, request: pytest.FixtureRequest) -> str | None:
    if not place.contained:
        return None
    built: str = request.getfixturevalue("harness_image")(HARNESSES / "quickcheck")
    return built


@pytest.fixture
def serving(place: Place, image: str | None) -> Serving:
    """A `generic` deployment of the stand-in, on a free port, or of another shell command."""

    def made(command: str | None = None, **fields: object) -> Deployment:
        port = free_port()
        python = "python3" if place.contained else sys.executable
        words = [python, "-c", SERVE.format(root="/src" if image else ROOT, port=port)]
        settings = {
            "type": "generic",
            "image": image,
            "command": tuple(words if command is None else ["/bin/sh", "-c", command]),
            "port": port,
            "deadline": 60.0,
            **fields,
        }
        return Deployment(**settings)  # type: ignore[arg-type] # given by name

    return made


@pytest.fixture
def clean(place: Place, request: pytest.FixtureRequest) -> Callable[[RunPlan], None]:
    """Says that neither a process nor a container of the run is left."""

    def check(run: RunPlan) -> None:
        assert processes.belonging(f"{run.jobs[0].key}/") == []
        if place.contained:
            engine: Engine = request.getfixturevalue("docker_engine")
            assert engine.run("ps", "--all", "--quiet", "--filter", f"label=evaldock.run={run.run_id}") == ""

    return check


def deployed(place: Place, folder: Path, command: str, server: Deployment) -> RunPlan:
    run = place.run(folder, command)
    if place.contained:
        source = Mount(source=str(ROOT), target="/src", read_only=True)
        # The job waits with what its image has: the server's own has Python.
        run = changed(run, network="host", image=server.image)
        server = replace(server, mounts=(source,))
    return changed(run, deployment=server)


def test_the_evaluation_asks_the_server_and_it_is_torn_down(
    place: Place, tmp_path: Path, database: Database, serving: Serving, clean: Callable[[RunPlan], None]
) -> None:
    server = serving()
    image = server.image
    run = plan(
        {
            "execution": place.beside(),
            "deployment": {
                "type": "generic",
                "command": shlex.join(server.command),
                "port": server.port,
                "served_model_name": "stand-in",
                "deadline": 60,
                "mounts": [f"{ROOT}:/src:ro"],
            },
            "target": {},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 3}}]},
        },
        directory=tmp_path / "run",
        identity=run_id.new(),
        keep=True,
    )
    assert run.jobs[0].endpoint.url == f"http://127.0.0.1:{server.port}/v1/chat/completions"
    if image:
        run = changed(run, image=image)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert "3 of 3 items passed" in (here(run) / "logs" / "job.log").read_text()
    assert "the stand-in is up" in (here(run) / "logs" / "deployment.log").read_text()
    clean(run)


def test_a_server_that_never_answers_fails_the_job_in_time(
    place: Place, tmp_path: Path, database: Database, serving: Serving, clean: Callable[[RunPlan], None]
) -> None:
    run = deployed(place, tmp_path, "touch {out}/ran", serving(IDLE, deadline=1.0))
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.exit_code) == (State.FAILED, 70)
    assert "the deployment did not answer at http://127.0.0.1:" in str(row.reason)
    assert "within 1 seconds" in str(row.reason)
    assert not (there(run) / "artifacts" / "ran").exists()
    clean(run)


def test_a_server_that_dies_at_once_fails_the_job_with_its_last_lines(
    place: Place, tmp_path: Path, database: Database, serving: Serving, clean: Callable[[RunPlan], None]
) -> None:
    run = deployed(place, tmp_path, "true", serving("echo no GPU here; exit 9"))
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.FAILED
    assert "no GPU here" in str(row.reason)
    clean(run)


def test_a_server_that_dies_later_fails_the_job_with_its_last_lines(
    place: Place, tmp_path: Path, database: Database, serving: Serving, clean: Callable[[RunPlan], None]
) -> None:
    server = serving()
    last_words = "print('out of memory, they say', flush=True)"
    dies = f"start_serving()\n        await asyncio.sleep(3)\n        {last_words}"
    program = server.command[2].replace("serve_forever()", dies)
    server = replace(server, command=(*server.command[:2], program))
    run = deployed(place, tmp_path, "touch {out}/ready; while :; do sleep 0.1; done", server)
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.FAILED
    assert "the deployment ended" in str(row.reason)
    assert "out of memory, they say" in str(row.reason)
    clean(run)


def test_cancelling_and_failing_end_the_server_too(
    place: Place, tmp_path: Path, database: Database, serving: Serving, clean: Callable[[RunPlan], None]
) -> None:
    run = deployed(place, tmp_path, "touch {out}/ready; while :; do sleep 0.1; done", serving())
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "ready")
    request_stop(database, run.run_id)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.CANCELLED, "stopped on request")
    clean(run)
    failing = deployed(place, tmp_path, "exit 3", serving())
    database.record(failing)
    (row,) = supervise(database, failing)
    assert (row.state, row.exit_code) == (State.FAILED, 3)
    clean(failing)


def test_the_servers_secrets_reach_it_and_nothing_else(
    place: Place, tmp_path: Path, database: Database, serving: Serving, request: pytest.FixtureRequest
) -> None:
    server = serving()
    print_length = "import os; print(f\"key of {len(os.environ['KEY'])}\", flush=True)"
    program = server.command[2].replace('print("the stand-in is up", flush=True)', print_length)
    secrets = (SecretName(name="KEY", source="HOST_KEY"),)
    server = replace(server, command=(*server.command[:2], program), secrets=secrets)
    command = 'printf %s "$KEY" >{out}/key; touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; '
    run = deployed(place, tmp_path, command + RESULTS, server)
    # The job's own goes by the same name.
    run = changed(run, secrets=(SecretName(name="KEY", source="JOB_KEY"),))
    database.record(run)
    tick(database, run.run_id, {"HOST_KEY": "much-too-secret", "JOB_KEY": "the job's"})
    out = wait_for(there(run) / "artifacts" / "ready").parent
    assert not [*tmp_path.rglob(".secrets"), *there(run).rglob(".secrets")]
    if place.contained:
        engine: Engine = request.getfixturevalue("docker_engine")
        for identity in engine.run("ps", "-q", "--filter", f"label=evaldock.run={run.run_id}").split():
            assert "much-too-secret" not in engine.run("inspect", identity)
    (out / "go").touch()
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert (here(run) / "artifacts" / "key").read_text() == "the job's"
    assert "key of 15" in (here(run) / "logs" / "deployment.log").read_text()
