"""Handing jobs to a real Ray head and asking how they are, beside Ray's own command and client."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import PYTHON, Sample, alternate, command
from benchmarks.reporting import Report, compared
from services.processes import stop_all
from services.ray_head import start_ray_head
from services.shared import Shared

SCRIPT = Path(__file__).with_name("ray_script.py")
RAY = PYTHON.with_name("ray")
JOBS = 10
ROUNDS = 2


def run() -> Report:
    report = Report("Ray")
    with _head() as (url, folder):
        submitted = alternate(
            {
                f"evaldock, {JOBS} jobs": lambda: _script("evaldock", "submit", url, folder),
                f"`ray job submit --no-wait`, {JOBS} times": lambda: _loop(url),
                f"Ray's client in one process, {JOBS} jobs": lambda: _script("client", "submit", url, folder),
            },
            rounds=ROUNDS,
        )
        asked = alternate(
            {
                f"evaldock, {JOBS} jobs": lambda: _script("evaldock", "status", url, folder),
                f"Ray's client in one process, {JOBS} jobs": lambda: _script("client", "status", url, folder),
            },
            rounds=ROUNDS,
        )
    ours, loop, _ = submitted.values()
    faster = loop.wall / ours.wall
    report.target(
        "rate of submission, beside a loop of `ray job submit`", "5 times", f"{faster:.1f} times", faster >= 5
    )
    report.tables += [
        compared(
            f"Submitting {JOBS} jobs",
            list(submitted.values()),
            counts=("jobs/s", "seconds without imports"),
            note=(
                "Whole commands, their start included. evaldock also lays out each job's folder, records the "
                "run, and makes sure that no job is submitted twice. No job can start, so that nothing else "
                "uses the machine."
            ),
        ),
        compared(
            f"Asking how {JOBS} jobs are",
            list(asked.values()),
            counts=("seconds without imports",),
            note="evaldock asks once for all jobs of a run, Ray's client once for each.",
        ),
    ]
    return report


@contextmanager
def _head() -> Iterator[tuple[str, Path]]:
    """Raises Unavailable where Ray isn't installed."""
    root = Path(tempfile.mkdtemp(prefix="evaldock-bench-"))
    try:
        shared = Shared(root, os.getpid())
        url = shared.once("ray", lambda folder: start_ray_head(shared, folder))["url"]
        work = root / "work"
        work.mkdir()
        yield url, work
    finally:
        stop_all(root)


def _script(who: str, what: str, url: str, folder: Path) -> Sample:
    sample = command([PYTHON, SCRIPT, who, what, str(JOBS), url, folder], environment=_state(folder))
    inner = json.loads(sample.said.splitlines()[-1])
    if inner["jobs"] != JOBS:
        raise RuntimeError(f"{who}: {what} of {inner['jobs']} jobs instead of {JOBS}")
    more = {"jobs/s": JOBS / sample.wall, "seconds without imports": inner["seconds"]}
    return replace(sample, more=more)


def _loop(url: str) -> Sample:
    one = f"{RAY} job submit --no-wait --address {url} --entrypoint-resources '{{\"nowhere\": 1}}' -- true"
    sample = command(["sh", "-ec", "\n".join([f"{one} >/dev/null 2>&1"] * JOBS)])
    return replace(sample, more={"jobs/s": JOBS / sample.wall})


def _state(folder: Path) -> dict[str, str]:
    return {"EVALDOCK_STATE": str(folder / "state")}
