"""The database: several processes, older and newer ones, disks it can't stand on, what is found in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from catalog.errors import NotFound, Refused, UsageError
from launched import Place, python, said
from launcher.jobs import JobHandle, JobStatus, State
from launcher.runs import database_file
from launcher.runs.database import Database
from launcher.runs.database_file import MIGRATIONS

OPEN = """
import sys
from pathlib import Path
from launcher.runs.database import Database
database = Database(Path(sys.argv[1]))
for _ in range(20):
    with database.transaction() as connection:
        (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        row = (f"{sys.argv[2]}-{count}", "process", "/x", "{}", 0.0)
        columns = "run_id, backend, directory, plan, created"
        connection.execute(f"INSERT INTO runs ({columns}) VALUES (?,?,?,?,?)", row)
database.close()
"""


def test_several_processes_open_a_new_one_at_once(tmp_path: Path) -> None:
    path = tmp_path / "state" / "runs.db"
    for process in [python(OPEN, str(path), str(number)) for number in range(4)]:
        said(process)
    database = Database(path)
    assert len(database.runs()) == 80
    database.close()


def test_an_older_one_is_brought_up_to_date(tmp_path: Path, on_process: Place) -> None:
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as old:
        for statement in MIGRATIONS[0].split(";"):
            old.execute(statement)
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO runs VALUES ('0123456789abcdef', 'process', '/x', '{}', 1.0, NULL)")
        old.execute(
            "INSERT INTO jobs (key, run_id, position, task, model, state)"
            " VALUES ('0123456789abcdef-000', '0123456789abcdef', 0, 't', 'm', 'succeeded')"
        )
    old.close()
    database = Database(path)
    (row,) = database.jobs("0123456789abcdef")
    assert (row.state, row.submitting) == (State.SUCCEEDED, None)
    run = on_process.run(tmp_path, "true")
    database.record(run)
    database.submitting(run.jobs[0].key)
    assert database.jobs(run.run_id)[0].submitting is not None
    database.close()


def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    with pytest.raises(Refused, match="made by a newer evaldock") as caught:
        Database(path)
    assert caught.value.hint == "upgrade, or point EVALDOCK_STATE elsewhere"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "lustre", "fuse.sshfs"])
def test_a_network_file_system_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    inner = tmp_path / "far away" / "state"
    name = str(tmp_path / "far away").replace(" ", "\\040")
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {name} {kind} rw 0 0\n")
    monkeypatch.setattr(database_file, "MOUNTS", mounts)
    with pytest.raises(Refused, match="can't lie on a network file system") as caught:
        Database(inner / "runs.db")
    assert kind in caught.value.message
    assert "EVALDOCK_STATE" in str(caught.value.hint)
    Database(tmp_path / "near" / "runs.db").close()


def test_runs_are_found_by_what_their_ids_begin_with(
    database: Database, on_process: Place, tmp_path: Path
) -> None:
    for identity in ("aaaa000000000001", "aaab000000000002", "b%%%000000000003"):
        database.record(on_process.run(tmp_path, "true", identity=identity))
    assert database.resolve("aaaa") == "aaaa000000000001"
    assert database.resolve("aaab000000000002") == "aaab000000000002"
    with pytest.raises(UsageError, match="several runs begin with 'aaa': aaa"):
        database.resolve("aaa")
    for nothing in ("", "%", "_", "zz"):
        with pytest.raises(NotFound):
            database.resolve(nothing)


def test_another_attempt_begins_when_the_one_before_is_collected(
    database: Database, on_process: Place, tmp_path: Path
) -> None:
    run = on_process.run(tmp_path, "true")
    key = run.jobs[0].key
    database.record(run)
    database.note([(key, JobStatus(state=State.FAILED, seen=1.0))])
    assert not database.again(key)
    database.collected(key, State.FAILED, None)
    assert database.again(key)
    # Another process has been collecting the first one all the while.
    database.collected(key, State.FAILED, None)
    (row,) = database.jobs(run.run_id)
    assert (row.state, row.attempt, row.collected) == (State.PLANNED, 2, None)


def test_recording_twice_changes_nothing(database: Database, on_process: Place, tmp_path: Path) -> None:
    run = on_process.run(tmp_path, "true")
    database.record(run)
    handle = JobHandle(key=run.jobs[0].key, backend="process", native_id="1", directory="/x")
    database.submitted(handle)
    database.record(run)
    (row,) = database.jobs(run.run_id)
    assert (row.state, row.native_id) == (State.QUEUED, "1")
    assert database.plan(run.run_id) == run


def test_runs_are_listed_newest_first_and_filtered(
    database: Database, on_process: Place, tmp_path: Path
) -> None:
    runs = [on_process.run(tmp_path, "true", "true") for _ in range(3)]
    for run in runs:
        database.record(run)
    listed = database.runs()
    assert [row.run_id for row in listed] == [run.run_id for run in reversed(runs)]
    assert listed[0].states == {"planned": 2}
    assert len(database.runs(limit=2)) == 2
    assert database.runs(backend="docker") == []
    assert database.runs(since=listed[0].created) == listed[:1]
