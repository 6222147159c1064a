"""Jobs that a scheduler itself holds back until others have ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, Place, states, supervise, there, until, wait_for
from launcher.jobs import RunPlan, State
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
from slurm_place import slurm_place

HELD = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; "


@pytest.fixture
def on_slurm(request: pytest.FixtureRequest) -> Place:
    return slurm_place(request)


def chained(place: Place, folder: Path, first: str, **settings: Any) -> RunPlan:
    run = place.run(folder, first, "touch {out}/ran; " + RESULTS, **settings)
    one, two = run.jobs
    return replace(run, jobs=(one, replace(two, depends_on=(one.key,))))


def test_a_job_is_handed_over_behind_another_and_runs_after_it(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = chained(on_slurm, tmp_path, HELD + RESULTS, parallel=2)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "ready")
    rows = until(
        lambda: (
            rows if states(rows := tick(database, run.run_id, {})) == [State.RUNNING, State.QUEUED] else None
        )
    )
    handle = rows[1].handle("slurm")
    assert handle is not None
    first = str(rows[0].native_id).partition("/")[0]
    assert f"Dependency=afterok:{first}" in on_slurm.native(handle)
    (there(run) / "artifacts" / "go").touch()
    rows = supervise(database, run)
    assert [(row.state, row.reason) for row in rows] == [(State.SUCCEEDED, None)] * 2


def test_what_waits_behind_a_job_that_fails_never_runs(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = chained(on_slurm, tmp_path, HELD + "exit 3", parallel=2)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "ready")
    until(lambda: tick(database, run.run_id, {})[1].native_id)
    (there(run) / "artifacts" / "go").touch()
    rows = supervise(database, run)
    assert states(rows) == [State.FAILED, State.FAILED]
    assert rows[1].reason == f"its dependency shell.t0 ({run.jobs[0].key}) failed"
    assert not (there(run, 1) / "artifacts" / "ran").exists()


def test_with_retries_the_supervisor_waits_itself(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = chained(on_slurm, tmp_path, HELD + RESULTS, parallel=2, retries=1)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "ready")
    assert tick(database, run.run_id, {})[1].state is State.PLANNED
    (there(run) / "artifacts" / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2


def test_behind_a_job_whose_number_was_never_learnt_nobody_is_handed_over(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = chained(on_slurm, tmp_path, HELD + RESULTS, parallel=2)
    database.record(run)
    # A launcher that ended between Slurm's answer and the database.
    database.submitting(run.jobs[0].key)
    on_slurm.submit(run)
    wait_for(there(run) / "artifacts" / "ready")
    rows = tick(database, run.run_id, {})
    assert [(row.state, row.native_id) for row in rows] == [(State.RUNNING, ""), (State.PLANNED, None)]
    (there(run) / "artifacts" / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2
