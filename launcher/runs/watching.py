"""Attached runs and detached supervisors: rounds until everything has ended."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from launcher.jobs import RunPlan, State
from launcher.runs import run_directory as files
from launcher.runs.database import Database, JobRow
from launcher.runs.judging import finished
from launcher.runs.progress import Progress
from launcher.runs.progress import read as read_progress
from launcher.runs.supervisor import tick

SHORTEST, LONGEST = 0.2, 5.0


def until_finished(
    database: Database,
    run_id: str,
    environ: Mapping[str, str],
    *,
    seen: Callable[[Sequence[JobRow]], None] | None = None,
    patience: float = math.inf,
) -> list[JobRow]:
    """Rounds until all jobs have ended and are collected, or `patience` seconds are over; less often while
    nothing happens."""
    pause, before, until = SHORTEST, None, time.monotonic() + patience
    while True:
        rows = tick(database, run_id, environ)
        if seen is not None:
            seen(rows)
        if finished(rows) or time.monotonic() >= until:
            return rows
        now = [(row.state, row.attempt) for row in rows]
        pause = SHORTEST if now != before else min(pause * 1.5, LONGEST)
        before = now
        time.sleep(pause)


def detach(run_id: str, state_folder: Path) -> None:
    """Leaves a supervisor for the run in a session of its own, nobody's child. What it says goes to a log
    beside the database."""
    log = state_folder / "supervisors" / f"{run_id}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    supervisor = [sys.executable, "-P", "-m", "catalog.cli", "tick", "--loop", run_id]
    with log.open("ab") as output:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *supervisor],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "EVALDOCK_STATE": str(state_folder)},
            check=True,
        )


def progress_of(plan: RunPlan, row: JobRow) -> Progress | None:
    """Items done, as far as the job's folder on this machine says."""
    if row.state is State.PLANNED:
        return None
    folder = next((job.directory for job in plan.jobs if job.key == row.key), None)
    return read_progress(Path(plan.directory) / folder / files.ARTIFACTS) if folder else None


def outcome(rows: Sequence[JobRow]) -> int:
    """The exit code: 0 when every job succeeded, else 1."""
    return 0 if all(row.state is State.SUCCEEDED for row in rows) else 1
