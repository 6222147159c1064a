"""The queue above the backends: order, limits, retries, deadlines, and who may have a round."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import Refused
from launched import RESULTS, Place, changed, states, supervise, until, wait_for
from launcher.jobs import JobPlan, RunPlan, State
from launcher.runs import handle, supervisor
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, resume, tick

HELD = "echo once >>{out}/count; until [ -e {out}/go ]; do sleep 0.05; done; " + RESULTS
FOREVER = "touch {out}/ready; while :; do sleep 0.1; done"


def depending(run: RunPlan, position: int, *on: int) -> RunPlan:
    def wired(job: JobPlan) -> JobPlan:
        keys = tuple(run.jobs[each].key for each in on)
        return replace(job, depends_on=keys) if job.index == position else job

    return replace(run, jobs=tuple(wired(job) for job in run.jobs))


def now(database: Database, key: str) -> None:
    """The next try needn't wait any longer."""
    database.postpone(key, reason="", not_before=0)


def out(run: RunPlan, position: int) -> Path:
    return Path(run.directory) / run.jobs[position].directory / "artifacts"


def test_a_job_waits_for_what_it_depends_on(on_process: Place, tmp_path: Path, database: Database) -> None:
    run = depending(on_process.run(tmp_path, RESULTS, HELD, parallel=2), 0, 1)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(out(run, 1) / "count")
    assert states(tick(database, run.run_id, {})) == [State.PLANNED, State.RUNNING]
    (out(run, 1) / "go").touch()
    rows = supervise(database, run)
    assert states(rows) == [State.SUCCEEDED] * 2
    assert (rows[0].submitted or 0) > (rows[1].ended or 0)


def test_a_failed_dependency_fails_what_stands_behind_it(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    run = on_process.run(tmp_path, "exit 3", RESULTS, RESULTS, RESULTS, parallel=4)
    run = depending(depending(run, 1, 0), 2, 1)
    database.record(run)
    rows = supervise(database, run)
    assert states(rows) == [State.FAILED, State.FAILED, State.FAILED, State.SUCCEEDED]
    first, second, *_ = run.jobs
    assert rows[1].reason == f"its dependency shell.t0 ({first.key}) failed"
    assert rows[2].reason == f"its dependency shell.t1 ({second.key}) failed"
    assert not out(run, 1).exists()


def test_a_job_of_another_run_can_be_waited_for(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    before = on_process.run(tmp_path, RESULTS)
    run = changed(on_process.run(tmp_path, RESULTS), depends_on=(before.jobs[0].key,))
    unknown = changed(on_process.run(tmp_path, RESULTS), depends_on=("0000000000000000-000",))
    for each in (run, before, unknown):
        database.record(each)
    assert states(tick(database, run.run_id, {})) == [State.PLANNED]
    assert states(supervise(database, before)) == [State.SUCCEEDED]
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    (row,) = supervise(database, unknown)
    assert row.reason == "its dependency 0000000000000000-000 is not in the database"


def test_no_more_run_at_once_than_allowed(on_process: Place, tmp_path: Path, database: Database) -> None:
    run = on_process.run(tmp_path, *[HELD] * 5, parallel=2)
    database.record(run)
    tick(database, run.run_id, {})
    for position in range(5):
        wait_for(out(run, position) / "count")
        rows = tick(database, run.run_id, {})
        going = [row for row in rows if row.native_id is not None and not row.state.terminal]
        assert len(going) <= 2
        assert not (out(run, 4) / "count").exists() or position >= 3
        (out(run, position) / "go").touch()
        if position < 3:
            until(lambda at=position: tick(database, run.run_id, {})[at].state is State.SUCCEEDED)  # type: ignore[misc]
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 5


def test_what_fails_is_tried_again_later_and_later(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    command = f"echo try >>{{out}}/count; [ $(wc -l <{{out}}/count) -ge 3 ] && {RESULTS} || exit 4"
    run = on_process.run(tmp_path, command, retries=2)
    database.record(run)
    environ = {"EVALDOCK_RETRY_PAUSE": "50"}

    def after_attempt(number: int) -> float:
        def ask() -> bool:
            (row,) = tick(database, run.run_id, environ)
            return row.attempt == number + 1

        until(ask, f"attempt {number} ended")
        (row,) = database.jobs(run.run_id)
        assert row.reason == f"attempt {number} failed: exit code 4"
        return (row.not_before or 0) - time.time()

    assert 40 < after_attempt(1) <= 50
    now(database, run.jobs[0].key)
    assert 90 < after_attempt(2) <= 100
    now(database, run.jobs[0].key)
    (row,) = supervise(database, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 3)
    kept = Path(run.directory) / run.jobs[0].directory / "attempts"
    assert sorted(path.name for path in kept.iterdir()) == ["1", "2"]
    assert (kept / "1" / "exit.json").exists()


def test_no_try_is_left(on_process: Place, tmp_path: Path, database: Database) -> None:
    run = on_process.run(tmp_path, "echo try >>{out}/count; exit 4", retries=1)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.exit_code, row.attempt) == (State.FAILED, 4, 2)
    assert (out(run, 0) / "count").read_text() == "try\ntry\n"


def test_results_of_an_earlier_attempt_do_not_count(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    command = f"echo try >>{{out}}/count; [ $(wc -l <{{out}}/count) = 1 ] && {RESULTS} && exit 1; true"
    run = on_process.run(tmp_path, command, retries=1)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.FAILED, "the harness left no results.yml")


def test_a_job_that_takes_too_long(on_process: Place, tmp_path: Path, database: Database) -> None:
    run = changed(on_process.run(tmp_path, FOREVER, RESULTS), timeout=4.0)
    database.record(run)
    rows = supervise(database, run)
    assert states(rows) == [State.FAILED, State.SUCCEEDED]
    assert rows[0].reason == "timed out after 4 seconds"


def test_a_run_that_takes_too_long(on_process: Place, tmp_path: Path, database: Database) -> None:
    run = on_process.run(tmp_path, FOREVER, RESULTS, deadline=1.0, retries=3)
    database.record(run)
    rows = supervise(database, run)
    assert [row.attempt for row in rows] == [1, 1]
    assert {row.reason for row in rows} == {"the run's deadline of 1 seconds has passed"}
    assert not out(run, 1).exists()


@pytest.mark.parametrize("policy", ["stop-all", "continue"])
def test_one_failure_stops_all_or_nothing(
    policy: str, on_process: Place, tmp_path: Path, database: Database
) -> None:
    others = "until [ -e {out}/go ]; do sleep 0.05; done; " + RESULTS
    run = on_process.run(tmp_path, "exit 3", others, RESULTS, parallel=2, on_failure=policy)
    for position in (1, 2):
        out(run, position).mkdir(parents=True)
    if policy == "continue":
        (out(run, 1) / "go").touch()
    database.record(run)
    rows = supervise(database, run)
    if policy == "continue":
        assert states(rows) == [State.FAILED, State.SUCCEEDED, State.SUCCEEDED]
    else:
        assert states(rows)[:2] == [State.FAILED, State.CANCELLED]
        assert rows[1].reason == "stopped because shell.t0 failed"
        assert rows[2].state is State.CANCELLED


def test_two_rounds_at_once_submit_nothing_twice(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    run = on_process.run(tmp_path, HELD, HELD, parallel=2)
    database.record(run)

    def one(_: int) -> None:
        own = Database(database.path)
        tick(own, run.run_id, {})
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    for position in (0, 1):
        wait_for(out(run, position) / "count")
        (out(run, position) / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2
    assert [(out(run, at) / "count").read_text() for at in (0, 1)] == ["once\n"] * 2


def test_resuming_waits_for_another_round(
    on_process: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = on_process.run(tmp_path, "exit 3")
    database.record(run)
    supervise(database, run)
    with supervisor.own_round(database, run.run_id):
        monkeypatch.setattr(supervisor, "RESUMING", 0.3)
        with pytest.raises(Refused, match="another command is asking about"):
            resume(database, run.run_id)
    assert [row.attempt for row in database.jobs(run.run_id)] == [1]
    assert resume(database, run.run_id) == [run.jobs[0].key]


def test_a_deadline_counts_anew_when_a_run_is_resumed(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    run = on_process.run(tmp_path, RESULTS, deadline=1800.0)
    database.record(run, created=time.time() - 3600)
    (row,) = supervise(database, run)
    assert row.reason == "the run's deadline of 1800 seconds has passed"
    resume(database, run.run_id)
    assert states(supervise(database, run)) == [State.SUCCEEDED]


def test_resuming_runs_only_what_did_not_succeed(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    run = on_process.run(
        tmp_path,
        f"echo once >>{{out}}/count; {RESULTS}",
        f"[ -e {{out}}/go ] && {RESULTS}",
        FOREVER,
        parallel=3,
    )
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(out(run, 2) / "ready")
    until(lambda: sum(row.state.terminal for row in tick(database, run.run_id, {})) == 2)
    request_stop(database, run.run_id)
    rows = supervise(database, run)
    assert states(rows) == [State.SUCCEEDED, State.FAILED, State.CANCELLED]
    (out(run, 1) / "go").touch()
    assert resume(database, run.run_id) == [run.jobs[1].key, run.jobs[2].key]
    rows = tick(database, run.run_id, {})
    assert [row.attempt for row in rows] == [1, 2, 2]
    request_stop(database, run.run_id)
    assert states(supervise(database, run))[0] is State.SUCCEEDED
    assert (out(run, 0) / "count").read_text() == "once\n"


def test_a_large_handle_is_not_written_for_each_job(
    on_process: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = handle.write

    def slow(opened: Database, run: RunPlan) -> Path:
        written.append(sum(row.native_id is not None for row in opened.jobs(run.run_id)))
        time.sleep(1)
        return write(opened, run)

    monkeypatch.setattr(handle, "write", slow)
    # However long a loaded machine takes to hand them over.
    monkeypatch.setattr(supervisor, "WRITING", 1000.0)
    run = on_process.run(tmp_path, *[RESULTS] * 8, parallel=8)
    database.record(run)
    tick(database, run.run_id, {})
    assert written == [1, 8]
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 8


def test_a_clock_that_is_set_back_holds_nothing_up(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    run = on_process.run(tmp_path, f"trap '' TERM; {FOREVER}", RESULTS, parallel=2)
    database.record(run)
    hour_ahead = time.time() + 3600
    database.postpone(run.jobs[1].key, reason="", not_before=hour_ahead)
    tick(database, run.run_id, {})
    assert until(lambda: database.jobs(run.run_id)[1].submitted, "it is handed over")
    wait_for(out(run, 0) / "ready")
    request_stop(database, run.run_id)
    tick(database, run.run_id, {})
    with database.transaction() as connection:
        connection.execute("UPDATE jobs SET stopping = ? WHERE key = ?", (hour_ahead, run.jobs[0].key))
    tick(database, run.run_id, {})
    asked = database.jobs(run.run_id)[0].stopping
    assert asked is not None
    assert asked < hour_ahead - 3000
    assert states(supervise(database, run))[0] is State.CANCELLED
