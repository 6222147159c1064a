"""The launcher is killed (-9) at every step: the next command finds every job again, and none runs twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from killed_launcher import launch_until_killed
from launched import RESULTS, Place, changed, supervise, until
from launcher.backends import processes
from launcher.jobs import RunPlan, SecretName, State
from launcher.runs import handle as run_handle
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop
from services.engine import Engine

COUNT = "echo once >>{out}/count; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS
STEPS = {
    "before-record": ("launcher.runs.database", "Database.record", "before"),
    "after-record": ("launcher.runs.handle", "write", "before"),
    "before-submit": ("launcher.runs.database", "Database.submitting", "after"),
    "staged": ("launcher.runs.run_directory", "write_secrets", "after"),
    "handing-over": {
        "process": ("launcher.backends.process", "select.select", "before"),
        "docker": ("launcher.backends.docker_engine", "created", "after"),
    },
    "before-noting": ("launcher.runs.database", "Database.submitted", "before"),
    "running": ("launcher.runs.watching", "time.sleep", "before"),
    "before-collecting": ("launcher.backends.{}", "collect", "before"),
    "collecting": ("launcher.backends.{}", "collect", "after"),
}


def killed_at(near: Place, step: str, run: RunPlan, folder: Path, database: Database) -> None:
    chosen = STEPS[step]
    module, name, when = chosen[near.name] if isinstance(chosen, dict) else chosen
    launch_until_killed((module.format(near.name), name, when), run, folder, database)


def nothing_is_left(run: RunPlan, request: pytest.FixtureRequest) -> None:
    key = run.jobs[0].key
    assert processes.belonging(f"{key}/") == []
    if run.backend == "docker":
        engine: Engine = request.getfixturevalue("docker_engine")
        assert engine.run("ps", "--all", "--quiet", "--filter", f"label=evaldock.key={key}") == ""


def out_of(run: RunPlan) -> Path:
    return Path(run.directory) / run.jobs[0].directory / "artifacts"


@pytest.mark.parametrize("step", STEPS)
def test_every_job_is_found_again_and_runs_once(
    near: Place, step: str, tmp_path: Path, database: Database, request: pytest.FixtureRequest
) -> None:
    run = near.run(tmp_path, COUNT)
    if "collecting" in step:
        out_of(run).mkdir(parents=True)
        (out_of(run) / "go").touch()
    killed_at(near, step, run, tmp_path, database)
    if step == "before-record":
        assert database.runs() == []
        assert not Path(run.directory).exists()
        return
    out_of(run).mkdir(parents=True, exist_ok=True)
    (out_of(run) / "go").touch()
    (row,) = supervise(database, run)
    assert (row.state, row.reason, row.attempt) == (State.SUCCEEDED, None, 1)
    assert (out_of(run) / "count").read_text() == "once\n"
    nothing_is_left(run, request)


@pytest.mark.parametrize("step", ["before-submit", "staged", "handing-over", "before-noting", "running"])
def test_what_was_left_behind_can_be_stopped(
    near: Place, step: str, tmp_path: Path, database: Database, request: pytest.FixtureRequest
) -> None:
    run = changed(near.run(tmp_path, COUNT), secrets=(SecretName(name="KEY", source="HOST_KEY"),))
    killed_at(near, step, run, tmp_path, database)
    request_stop(database, run.run_id)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.CANCELLED, "stopped on request")
    nothing_is_left(run, request)
    assert not list(tmp_path.rglob(".secrets"))


@pytest.mark.parametrize("step", ["before-noting", "running", "collecting"])
def test_the_handle_alone_is_enough(near: Place, step: str, tmp_path: Path, database: Database) -> None:
    run = near.run(tmp_path, COUNT)
    out_of(run).mkdir(parents=True)
    if step == "collecting":
        (out_of(run) / "go").touch()
    killed_at(near, step, run, tmp_path, database)
    (out_of(run) / "go").touch()
    fresh = Database(tmp_path / "fresh" / "runs.db")
    try:
        run_handle.adopt(fresh, Path(run.directory) / "run.json")
        (row,) = supervise(fresh, run)
    finally:
        fresh.close()
    assert (row.state, row.attempt) == (State.SUCCEEDED, 1)
    assert (out_of(run) / "count").read_text() == "once\n"


def test_a_job_whose_runner_was_killed_runs_again_and_only_then(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    command = f"echo once >>{{out}}/count; [ -e {{out}}/go ] && {RESULTS} || while :; do sleep 0.1; done"
    run = on_process.run(tmp_path, command, retries=1)
    killed_at(on_process, "running", run, tmp_path, database)
    until((out_of(run) / "count").exists)
    (row,) = database.jobs(run.run_id)
    handle = row.handle("process")
    assert handle is not None
    on_process.lost(handle)
    (out_of(run) / "go").touch()
    (row,) = supervise(database, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 2)
    assert (out_of(run) / "count").read_text() == "once\nonce\n"
    assert processes.belonging(f"{row.key}/") == []
