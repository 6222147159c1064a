"""Handles: a run is found again from its `run.json`, whatever its size and wherever it was cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launched import RESULTS, Place, states, supervise
from launcher.jobs import State
from launcher.runs import handle
from launcher.runs.database import Database
from launcher.runs.supervisor import tick


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Database]:
    """The database of a machine that has never heard of the run."""
    opened = Database(tmp_path / "elsewhere" / "runs.db")
    yield opened
    opened.close()


def test_a_run_of_many_jobs_is_taken_over(
    on_process: Place, tmp_path: Path, database: Database, elsewhere: Database
) -> None:
    run = on_process.run(tmp_path, *[f"true # {'.' * 2000}"] * 1000)
    database.record(run)
    path = handle.write(database, run)
    assert path.stat().st_size > 2 << 20
    assert handle.adopt(elsewhere, path) == run
    assert len(elsewhere.jobs(run.run_id)) == 1000


def test_an_attempt_that_was_planned_is_still_the_next_one(
    on_process: Place, tmp_path: Path, database: Database, elsewhere: Database
) -> None:
    run = on_process.run(tmp_path, f"[ -e {{out}}/second ] || exit 3; {RESULTS}")
    database.record(run)
    assert states(supervise(database, run)) == [State.FAILED]
    assert database.again(run.jobs[0].key)
    path = handle.write(database, run)
    (Path(run.directory) / run.jobs[0].directory / "artifacts" / "second").touch()
    handle.adopt(elsewhere, path)
    (row,) = supervise(elsewhere, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 2)


def test_a_handle_is_taken_over_whole_or_not_at_all(
    on_process: Place, tmp_path: Path, database: Database, elsewhere: Database
) -> None:
    run = on_process.run(tmp_path, RESULTS, RESULTS, parallel=2)
    database.record(run)
    tick(database, run.run_id, {})
    path = Path(run.directory) / "run.json"
    whole = path.read_bytes()
    data = json.loads(whole)
    data["jobs"][run.jobs[1].key]["attempt"] = "one"
    path.write_text(json.dumps(data))
    with pytest.raises(Exception, match="not a run's handle"):
        handle.adopt(elsewhere, path)
    assert not elsewhere.knows(run.run_id)
    path.write_bytes(whole)
    handle.adopt(elsewhere, path)
    rows = elsewhere.jobs(run.run_id)
    assert [row.native_id for row in rows] == [row.native_id for row in database.jobs(run.run_id)]
    assert states(supervise(elsewhere, replace(run))) == [State.SUCCEEDED] * 2
