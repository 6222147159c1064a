"""What a harness can leave in its job's folder, which it may fill as it likes, to trouble the launcher."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import NotFound
from launched import RESULTS, Place, states, supervise
from launcher.jobs import State
from launcher.results import results_file
from launcher.runs import progress, run_directory
from launcher.runs.database import Database

DEEP = '{"exit_code": 0, "reason": ' + "[" * 100_000


def test_an_exit_json_that_nobody_can_read_is_none(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    (tmp_path / "given").write_text(DEEP)
    # It kills what would have told of its end.
    run = on_process.run(tmp_path, f"cp {tmp_path}/given exit.json; kill -KILL $PPID; {RESULTS}; exit 4")
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state in (State.FAILED, State.LOST)


@pytest.mark.parametrize("code", [99999999999999999999, True, "0", None, 1.5])
def test_an_exit_code_is_a_number_that_a_database_takes(code: object) -> None:
    assert run_directory.exit_of({"exit_code": code, "attempt": 1}) is None


def test_a_reason_that_no_database_takes_is_told_as_far_as_it_can_be(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    said = {"exit_code": 4, "reason": "\ud800" + "x" * 100_000, "attempt": 1, "started": "<b>", "ended": 3}
    (tmp_path / "given").write_text(json.dumps(said))
    left = run_directory.exit_of(json.loads((tmp_path / "given").read_text()))
    assert left is not None
    assert (left.started, left.ended) == (None, None)
    run = on_process.run(tmp_path, "true")
    database.record(run)
    database.note([(run.jobs[0].key, left.status("ended", 1.0))])
    (row,) = database.jobs(run.run_id)
    assert str(row.reason).startswith("?xxx")
    assert len(str(row.reason)) < 5000


def _link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def _folder(path: Path, secret: Path) -> None:
    """Its folder leads elsewhere."""
    path.parent.rmdir()
    beside = secret.with_name("beside")
    beside.mkdir()
    (beside / path.name).write_bytes(secret.read_bytes())
    path.parent.symlink_to(beside)


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("made", [_link, _folder, _pipe, _endless])
def test_what_is_no_file_of_the_jobs_is_not_read(made: Callable[[Path, Path], None], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    job = tmp_path / "job"
    for name, content in (
        ("logs/job.log", b"password"),
        ("artifacts/results.yml", RESULTS.partition("'")[2].partition("'")[0].encode()),
        ("artifacts/progress", b"3/4"),
    ):
        secret.write_bytes(content)
        path = job / name
        path.parent.mkdir(parents=True)
        made(path, secret)
        if name == "logs/job.log":
            assert run_directory.read_log(path, 0) == (b"", 0)
        elif name == "artifacts/progress":
            assert progress.read(path.parent) is None
        else:
            with pytest.raises(NotFound, match=r"left no results\.yml"):
                results_file.read(path.parent)
        path.unlink()
        if path.parent.is_symlink():
            path.parent.unlink()
            (tmp_path / "beside").rmdir()
        else:
            path.parent.rmdir()


@pytest.mark.parametrize("made", [_link, _pipe, _endless])
def test_nor_is_what_it_says_of_its_end(made: Callable[[Path, Path], None], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"exit_code": 0, "token": "password"}')
    made(tmp_path / "exit.json", secret)
    assert run_directory.read_exit(tmp_path) is None
    assert run_directory.read_json(tmp_path / "exit.json") is None


def test_a_log_of_the_supervisors_that_leads_elsewhere_is_not_written_to(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    elsewhere = tmp_path / "startup"
    elsewhere.write_text("")
    run = on_process.run(tmp_path, f"ln -s {elsewhere} supervisor.log; {RESULTS}")
    database.record(run)
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    run_directory.add_line(Path(run.directory) / run.jobs[0].directory / "supervisor.log", "hello")
    assert elsewhere.read_text() == ""
    run_directory.add_line(tmp_path / "supervisor.log", "hello")
    assert (tmp_path / "supervisor.log").read_text() == "hello\n"
