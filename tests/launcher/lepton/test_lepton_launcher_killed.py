"""The launcher is killed (-9) around each request to a workspace: every job is found again, and runs once."""

from __future__ import annotations

from pathlib import Path

import pytest

from killed_launcher import launch_until_killed
from launched import RESULTS, Place, here, supervise, there
from launcher.jobs import RunPlan, State
from launcher.runs import handle as run_handle
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop
from services.lepton import Lepton

COUNT = "echo once >>{out}/count; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS
STEPS = {
    "staged": ("launcher.backends.lepton_api", "Lepton.create_job", "before"),
    "created": ("launcher.backends.lepton_api", "Lepton.create_job", "after"),
    "before-noting": ("launcher.runs.database", "Database.submitted", "before"),
    "running": ("launcher.runs.watching", "time.sleep", "before"),
    "collecting": ("launcher.node.result_stream", "unpack", "after"),
    "collected": ("launcher.backends.lepton", "collect", "after"),
}


def killed_at(step: str, run: RunPlan, folder: Path, database: Database) -> None:
    launch_until_killed(STEPS[step], run, folder, database)


def go(run: RunPlan) -> None:
    out = there(run) / "artifacts"
    out.mkdir(parents=True, exist_ok=True)
    (out / "go").touch()


@pytest.mark.parametrize("step", STEPS)
def test_every_job_is_found_again_and_runs_once(
    place: Place, lepton: Lepton, step: str, tmp_path: Path, database: Database
) -> None:
    run = place.run(tmp_path, COUNT)
    if "collect" in step:
        go(run)
    killed_at(step, run, tmp_path, database)
    go(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason, row.attempt) == (State.SUCCEEDED, None, 1)
    assert (here(run) / "artifacts" / "count").read_text() == "once\n"
    (job,) = lepton.look()["jobs"].values()
    assert job["pids"] == []


@pytest.mark.parametrize("step", ["staged", "created", "running"])
def test_what_was_left_behind_is_stopped_by_its_handle_alone(
    place: Place, lepton: Lepton, step: str, tmp_path: Path, database: Database
) -> None:
    run = place.run(tmp_path, COUNT)
    killed_at(step, run, tmp_path, database)
    fresh = Database(tmp_path / "fresh" / "runs.db")
    try:
        run_handle.adopt(fresh, Path(run.directory) / "run.json")
        request_stop(fresh, run.run_id)
        (row,) = supervise(fresh, run)
    finally:
        fresh.close()
    assert row.state is State.CANCELLED
    assert [job["pids"] for job in lepton.look()["jobs"].values()] == [[]] * (step != "staged")
