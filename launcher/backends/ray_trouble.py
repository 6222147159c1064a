"""A cluster that doesn't answer: since when, and what becomes of its jobs.

The first moment is kept in a file beside the database, so that every process that asks knows of it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from launcher.jobs import JobHandle, JobStatus, State
from launcher.runs import run_directory as files
from launcher.runs.database import default_path

_REASON = 300  # characters


def over(url: str) -> None:
    with suppress(OSError):
        _file(url).unlink(missing_ok=True)


def unknown(handle: JobHandle, url: str, message: str, seen: float) -> JobStatus:
    """`unknown`, for as long as `on_poll_failure` is `leave`; with `stop` the job is given up after
    `poll_deadline` seconds: collecting it then waits until it could be stopped. One without an id may have
    arrived or not: `lost` would mean that it never did."""
    settings = handle.settings
    deadline = float(settings.get("poll_deadline") or 0)
    since = _since(url, seen, deadline)
    gives_up = settings.get("on_poll_failure") == "stop" and deadline and handle.native_id
    if gives_up and seen - since > deadline:
        reason = f"Ray has not answered for {deadline:g} seconds, and on_poll_failure is stop: {message}"
        return JobStatus(state=State.LOST, reason=reason[:_REASON], native="unreachable", seen=seen)
    return JobStatus(state=State.UNKNOWN, reason=message[:_REASON], native="unreachable", seen=seen)


def _since(url: str, seen: float, deadline: float) -> float:
    """A time in which nobody asked, because the machine slept, is none in which Ray didn't answer."""
    file = _file(url)
    noted = files.read_json(file) or {}
    since, last = noted.get("since"), noted.get("last")
    if not isinstance(since, int | float) or not isinstance(last, int | float) or seen - last > deadline:
        since = seen
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(file, {"since": since, "last": seen, "url": url})
    return float(since)


def _file(url: str) -> Path:
    return default_path().parent / "ray" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
