"""How jobs end: by themselves, by a signal, on request, or without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from job_places import on
from launched import (
    RESULTS,
    Place,
    artifacts,
    changed,
    ended,
    exit_of,
    states,
    status,
    supervise,
    there,
    wait_for,
)
from launcher.backends import processes
from launcher.jobs import JobHandle, Resources, RunPlan, State
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, tick

FOREVER = "touch {out}/ready; while :; do sleep 0.1; done"


def started(place: Place, run: RunPlan) -> JobHandle:
    handle = place.submit(run)
    wait_for(artifacts(handle) / "ready")
    return handle


def test_a_harness_that_fails(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "echo why >&2; exit 3")
    handle = place.submit(run)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.FAILED, 3, None)
    assert exit_of(handle)["exit_code"] == 3
    assert place.backend.logs(handle, 0).data == b"why\n"
    place.collect(run, handle)


def test_a_harness_that_is_killed(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "kill -9 $$")
    handle = place.submit(run)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.FAILED, 137, "killed by signal 9")
    place.collect(run, handle)


def test_a_script_that_is_killed(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, FOREVER)
    handle = started(place, run)
    place.killed(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code) == (State.FAILED, 137)
    assert str(answer.reason).startswith("killed by ")
    place.collect(run, handle)


def test_a_job_that_is_gone_is_lost_and_leaves_nothing_running(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, FOREVER)
    handle = started(place, run)
    place.lost(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code) == (State.LOST, None)
    place.collect(run, handle)
    assert processes.belonging(f"{handle.key}/") == []
    assert status(place, handle).state is State.LOST


def test_cancelling_twice_and_after_the_end(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, FOREVER)
    handle = started(place, run)
    place.backend.cancel(handle)
    place.backend.cancel(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.CANCELLED, 143, "stopped on request")
    place.backend.cancel(handle)
    place.collect(run, handle)
    place.backend.cancel(handle)
    assert status(place, handle).state is State.CANCELLED


def test_a_job_that_has_succeeded_is_not_cancelled(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "true")
    handle = place.submit(run)
    assert ended(place, handle).state is State.SUCCEEDED
    place.backend.cancel(handle)
    assert status(place, handle).state is State.SUCCEEDED
    place.collect(run, handle)


def test_a_harness_that_traps_the_request_writes_its_last_checkpoint(place: Place, tmp_path: Path) -> None:
    trap = "trap 'sleep 1; echo saved >>{out}/saved; exit 0' TERM"
    run = place.run(tmp_path, f"({trap}; {FOREVER}) & wait; wait")
    handle = started(place, run)
    place.backend.cancel(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code) == (State.CANCELLED, 143)
    assert (artifacts(handle) / "saved").read_text() == "saved\n"
    place.collect(run, handle)


def test_a_harness_that_ignores_the_request_is_killed(place: Place, tmp_path: Path) -> None:
    command = "trap '' TERM; touch {out}/ready; while :; do sleep 0.1; done"
    run = place.run(tmp_path, command)
    handle = started(place, run)
    place.backend.cancel(handle)
    assert ended(place, handle).state is State.CANCELLED
    place.collect(run, handle)
    assert processes.belonging(f"{handle.key}/") == []


def test_a_queued_job_is_cancelled_before_it_ran(place: Place, tmp_path: Path, database: Database) -> None:
    run = place.run(tmp_path, FOREVER, "touch {out}/ran", parallel=1)
    database.record(run)
    (_, waiting) = tick(database, run.run_id, {})
    # With the launcher, or with a scheduler that was told to run one at a time.
    assert waiting.state in (State.PLANNED, State.QUEUED)
    wait_for(there(run) / "artifacts" / "ready")
    request_stop(database, run.run_id)
    rows = supervise(database, run)
    assert [row.state for row in rows] == [State.CANCELLED] * 2
    assert [row.reason for row in rows] == ["stopped on request"] * 2
    assert not (there(run, 1) / "artifacts" / "ran").exists()


@on(scheduled=True)
def test_what_waits_in_the_backends_own_queue_is_cancelled_there(place: Place, tmp_path: Path) -> None:
    run = changed(place.run(tmp_path, "touch {out}/ran"), resources=Resources(cpus=1))
    with place.busy():
        handle = place.submit(run)
        assert status(place, handle).state is State.QUEUED
        place.backend.cancel(handle)
        place.backend.cancel(handle)
        assert ended(place, handle).state is State.CANCELLED
        place.backend.cancel(handle)
    place.collect(run, handle)
    assert status(place, handle).state is State.CANCELLED
    assert not (there(run) / "artifacts" / "ran").exists()


@on(scheduled=True)
def test_a_run_that_waits_in_the_backends_own_queue_is_stopped_whole(
    place: Place, tmp_path: Path, database: Database
) -> None:
    run = place.run(tmp_path, *["touch {out}/ran; " + RESULTS] * 2, parallel=2)
    run = replace(run, jobs=tuple(replace(job, resources=Resources(cpus=1)) for job in run.jobs))
    database.record(run)
    with place.busy():
        tick(database, run.run_id, {})
        assert states(tick(database, run.run_id, {})) == [State.QUEUED] * 2
        request_stop(database, run.run_id)
        rows = supervise(database, run)
    assert [(row.state, row.reason) for row in rows] == [(State.CANCELLED, "stopped on request")] * 2
    for index in range(2):
        assert not (there(run, index) / "artifacts" / "ran").exists()


@pytest.mark.parametrize("broken", [None, "results: [", "results: {}"], ids=["none", "torn", "empty"])
def test_success_without_results_is_none(
    place: Place, tmp_path: Path, database: Database, broken: str | None
) -> None:
    run = place.run(tmp_path, f"echo '{broken}' >{{out}}/results.yml" if broken else "true", RESULTS)
    database.record(run)
    rows = supervise(database, run)
    assert [row.state for row in rows] == [State.FAILED, State.SUCCEEDED]
    expected = "not a results file" if broken else "the harness left no results.yml"
    assert str(rows[0].reason).startswith(expected)
    assert rows[0].exit_code == 0
