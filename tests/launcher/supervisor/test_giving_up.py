"""A backend that is gone for good, with jobs that nobody can be asked about any more."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import Refused
from launched import RESULTS_FILE, Place, states
from launcher.jobs import JobHandle, JobStatus, RunPlan, State
from launcher.runs.database import Database
from launcher.runs.judging import finished
from launcher.runs.supervisor import give_up, resume, tick
from running import evaldock
from services.processes import free_port


@pytest.fixture
def gone(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    """A job that was handed over, one that may have been, one that ended there, one that never was."""
    monkeypatch.setenv("EVALDOCK_STATE", str(database.path.parent))
    settings = {"dashboard_url": f"http://127.0.0.1:{free_port()}", "request_timeout": 1.0}
    place = Place("ray", remote=str(tmp_path / "there"), settings=settings)
    run = place.run(tmp_path / "here", *["true"] * 4, parallel=1)
    database.record(run)
    for job in (run.jobs[0], run.jobs[2]):
        handle = JobHandle(key=job.key, backend="ray", native_id="n", directory=run.folder(job))
        database.submitted(handle)
    database.submitting(run.jobs[1].key)
    database.note([(run.jobs[2].key, JobStatus(state=State.SUCCEEDED, reason=None, exit_code=0, seen=1.0))])
    return run


def test_what_nobody_can_be_asked_about_is_written_off(gone: RunPlan, database: Database) -> None:
    rows = tick(database, gone.run_id, {})
    assert not finished(rows)
    said = evaldock("kill", gone.run_id, "--give-up")
    assert (said.code, said.out) == (0, f"{gone.run_id}: 4 jobs given up\n")
    assert "goes on running" in said.err
    rows = database.jobs(gone.run_id)
    # The third had succeeded, and left its results where nobody can fetch them.
    assert states(rows) == [State.LOST, State.LOST, State.LOST, State.CANCELLED]
    assert rows[2].reason == "given up; its results never arrived"
    assert finished(rows)
    assert rows[0].reason == "given up; nobody knows whether it still runs"
    assert finished(tick(database, gone.run_id, {}))
    assert '"lost"' in (Path(gone.directory) / "run.json").read_text()
    assert evaldock("kill", gone.run_id, "--give-up").out == f"{gone.run_id}: 0 jobs given up\n"


def test_what_does_not_end_is_waited_for_only_so_long(gone: RunPlan, database: Database) -> None:
    said = evaldock("kill", gone.run_id, "--wait", "0s")
    assert said.code == 4
    assert said.out == f"{gone.run_id}: 1 of 4 jobs cancelled\n"
    assert (
        f"3 jobs of {gone.run_id} have not ended in time, such as {gone.jobs[0].key} (unknown: " in said.err
    )
    assert f"`evaldock kill {gone.run_id}` waits on; with --give-up they are written off" in said.err
    shown = evaldock("kill", gone.run_id, "--give-up", "--json")
    assert [job["state"] for job in shown.json] == ["lost", "lost", "lost", "cancelled"]
    assert evaldock("kill", gone.run_id, "--wait", "0s").code == 0


def test_it_can_be_taken_up_again(gone: RunPlan, database: Database) -> None:
    give_up(database, gone.run_id)
    keys = [job.key for job in gone.jobs]
    assert resume(database, gone.run_id) == keys
    assert {row.attempt for row in database.jobs(gone.run_id)} == {2}


def test_results_that_are_here_are_not_given_up(gone: RunPlan, database: Database) -> None:
    artifacts = Path(gone.directory) / gone.jobs[2].directory / "artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "results.yml").write_text(RESULTS_FILE)
    give_up(database, gone.run_id)
    assert database.jobs(gone.run_id)[2].state is State.SUCCEEDED


def test_not_while_another_command_is_asking(gone: RunPlan, database: Database) -> None:
    lock = database.path.parent / "locks" / f"{gone.run_id}.lock"
    lock.parent.mkdir(exist_ok=True)
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    before = database.jobs(gone.run_id)
    with pytest.raises(Refused, match="another command is asking about"):
        give_up(database, gone.run_id)
    assert database.jobs(gone.run_id) == before
    assert database.run(gone.run_id).cancelled is None
    os.close(file)
    give_up(database, gone.run_id)
    assert finished(database.jobs(gone.run_id))


def test_one_run_that_cannot_be_looked_after_keeps_no_other_from_it(
    gone: RunPlan, database: Database, tmp_path: Path
) -> None:
    """Two runs are open, and the first one's records say nothing that is understood."""
    other = replace(Place("ray", settings=gone.settings).run(tmp_path / "other", "true"), backend="no-such")
    database.record(other)
    said = evaldock("tick", other.run_id, gone.run_id, "--json")
    assert said.code == 2
    assert f"{other.run_id}: unknown backend 'no-such'" in said.err
    assert {row["run"] for row in said.json} == {other.run_id, gone.run_id}
