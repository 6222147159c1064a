"""What an answer means, and when a job has to be stopped: values in, values out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import Place, changed
from launcher.jobs import JobStatus, RunPlan, State
from launcher.runs import judging
from launcher.runs.database import JobRow

START = 1000.0


@pytest.fixture
def run(on_process: Place, tmp_path: Path) -> RunPlan:
    return changed(on_process.run(tmp_path, "true"), timeout=60.0)


def row(run: RunPlan, **fields: Any) -> JobRow:
    job = run.jobs[0]
    empty = dict.fromkeys(JobRow.__dataclass_fields__)
    given = {"key": job.key, "run_id": run.run_id, "position": 0, "task": job.task, "model": "m"}
    return JobRow(**{**empty, **given, "state": State.QUEUED, "attempt": 1, "submitted": START, **fields})


def why(run: RunPlan, of: JobRow, now: float, **more: Any) -> str | None:
    return judging.stop_reason(run, run.jobs[0], of, now, began=START, **more)


def test_a_timeout_counts_from_when_the_job_began_to_run(run: RunPlan) -> None:
    assert why(run, row(run), START + 1e6) is None
    running = row(run, state=State.RUNNING, running=START + 500)
    assert why(run, running, START + 559) is None
    assert why(run, running, START + 561) == "timed out after 60 seconds"


def test_a_queue_has_a_deadline_of_its_own(run: RunPlan) -> None:
    run = replace(run, queue_timeout=30.0)
    assert why(run, row(run), START + 29) is None
    assert why(run, row(run), START + 31) == "still in the queue after 30 seconds"
    assert why(run, row(run, state=State.RUNNING, running=START + 1), START + 31) is None
    # Held back by the backend itself until another job has ended.
    before = row(run, key="another", state=State.RUNNING)
    assert why(run, row(run), START + 31, wanted=lambda: [("another", before)]) is None
    ended = replace(before, state=State.SUCCEEDED, ended=START + 20, collected=START + 20)
    assert why(run, row(run), START + 31, wanted=lambda: [("another", ended)]) is None
    assert why(run, row(run), START + 51, wanted=lambda: [("another", ended)]) is not None


def test_what_stands_behind_a_failed_job_in_the_backends_queue_is_stopped(run: RunPlan) -> None:
    failed = row(run, key="another", state=State.FAILED, collected=START, ended=START)
    reason = why(run, row(run), START + 1, wanted=lambda: [("another", failed)])
    assert reason == "its dependency shell.t0 (another) failed"


def test_who_is_not_heard_of_for_long_is_told_since_when(run: RunPlan) -> None:
    silent = JobStatus(state=State.UNKNOWN, reason="no route", seen=START + 299)
    assert judging.judged(row(run, unheard=START), silent).reason == "no route"
    late = judging.judged(row(run, unheard=START), replace(silent, seen=START + 300))
    assert late.reason == "not heard of since 1970-01-01T00:16:40Z: no route"
    assert judging.judged(row(run), replace(silent, seen=START + 300)).reason == "no route"


def test_who_stopped_a_job_says_what_became_of_it(run: RunPlan) -> None:
    cancelled = JobStatus(state=State.CANCELLED, reason="CANCELLED by 0", seen=START)
    assert judging.judged(row(run), cancelled).reason == "stopped from outside"
    told = judging.judged(row(run), cancelled, "its dependency a failed")
    assert (told.state, told.reason) == (State.FAILED, "its dependency a failed")
    asked = judging.judged(row(run, stop_reason="stopped on request"), cancelled)
    assert (asked.state, asked.reason) == (State.CANCELLED, "stopped on request")
    late = judging.judged(row(run, stop_reason="still in the queue after 30 seconds"), cancelled)
    assert (late.state, late.reason) == (State.FAILED, "still in the queue after 30 seconds")
