"""What a backend's answer means for a job of a run, and when a job has to be stopped. Pure.

A stop reason that begins with "stopped" makes a job cancelled; with any other it has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from catalog.errors import EvaldockError
from launcher.jobs import JobPlan, JobStatus, RunPlan, State
from launcher.results import results_file
from launcher.runs import run_directory as files
from launcher.runs.database import JobRow

TIMED_OUT = "timed out"
# Seconds for which nobody could be asked about a job until its owner is told since when.
UNKNOWN_DEADLINE = 300.0


def finished(rows: Sequence[JobRow]) -> bool:
    """Every job has ended and is collected."""
    return all(row.state.terminal and row.collected is not None for row in rows)


def judged(row: JobRow, status: JobStatus, failed_dependency: str | None = None) -> JobStatus:
    """A job that was asked to stop ended because of that, unless it had succeeded before. One that nobody
    here asked was stopped by its machine, and may be tried again; or it never ran, because of a
    `failed_dependency` behind which it stood there."""
    if status.state is State.UNKNOWN:
        return _unheard(row, status)
    if row.stop_reason is None and failed_dependency is not None:
        return replace(status, state=State.FAILED, reason=failed_dependency)
    if row.stop_reason is None and status.state is State.CANCELLED:
        return replace(status, state=State.FAILED, reason="stopped from outside")
    if row.stop_reason is None or not status.state.terminal or status.state is State.SUCCEEDED:
        return status
    state = State.CANCELLED if row.stop_reason.startswith("stopped") else State.FAILED
    return replace(status, state=state, reason=row.stop_reason)


def _unheard(row: JobRow, status: JobStatus) -> JobStatus:
    if row.unheard is None or status.seen - row.unheard < UNKNOWN_DEADLINE:
        return status
    since = files.timestamp(row.unheard)
    return replace(status, reason=f"not heard of since {since}: {status.reason or 'nobody could be asked'}")


def with_results(row: JobRow, artifacts: Path) -> tuple[State, str | None]:
    """Success without a readable results.yml is none."""
    if row.state is not State.SUCCEEDED:
        return row.state, row.reason
    try:
        results_file.read(artifacts)
    except EvaldockError as error:
        return State.FAILED, error.message
    return State.SUCCEEDED, None


def given_up(plan: RunPlan, row: JobRow) -> tuple[State, str | None]:
    """What is recorded of a job that nobody is asked about any more, or that can't be collected."""
    if row.state is State.SUCCEEDED:
        job = next(job for job in plan.jobs if job.key == row.key)
        state, _ = with_results(row, Path(plan.directory) / job.directory / files.ARTIFACTS)
        arrived = job.kind != "recipe" and state is State.SUCCEEDED
        return (state, None) if arrived else (State.LOST, "given up; its results never arrived")
    if row.state.terminal:
        return row.state, row.reason
    if row.state is State.PLANNED and row.submitting is None:
        return State.CANCELLED, files.STOPPED
    return State.LOST, "given up; nobody knows whether it still runs"


def blocked_by(wanted: Iterable[tuple[str, JobRow | None]]) -> str | None:
    """Why a job can't run any more, from those that it depends on."""
    for key, row in wanted:
        if row is None:
            return f"its dependency {key} is not in the database"
        if row.state.terminal and row.state is not State.SUCCEEDED and row.collected is not None:
            return f"its dependency {row.task} ({key}) {row.state}"
    return None


def stop_reason(
    plan: RunPlan,
    job: JobPlan,
    row: JobRow,
    now: float,
    *,
    began: float,
    failed: Sequence[JobRow] = (),
    wanted: Callable[[], list[tuple[str, JobRow | None]]] = list,
) -> str | None:
    """`began` is when the run was made or resumed, `failed` are its jobs that ended badly, `wanted` gives
    those that this one depends on."""
    if row.stop_reason is not None:
        return row.stop_reason
    if failed and plan.on_failure == "stop-all":
        return f"stopped because {failed[0].task} failed"
    if job.timeout is not None and row.running is not None and now - row.running > job.timeout:
        return f"{TIMED_OUT} after {job.timeout:g} seconds"
    if plan.deadline is not None and now - began > plan.deadline:
        return f"the run's deadline of {plan.deadline:g} seconds has passed"
    if row.submitted is None or row.running is not None:
        return None
    before = wanted()
    # One that the backend itself holds back waits for nobody's machine.
    if plan.queue_timeout is not None and all(each and each.state.terminal for _, each in before):
        since = max([row.submitted, *(each.ended or 0 for _, each in before if each)])
        if now - since > plan.queue_timeout:
            return f"still in the queue after {plan.queue_timeout:g} seconds"
    return blocked_by(before)
