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
    `poll_deadline` seconds: collecting it then waits until it could be stopped."""
    since = _since(url, seen)
    settings = handle.settings
    deadline = float(settings.get("poll_deadline") or 0)
    if settings.get("on_poll_failure") == "stop" and deadline and seen - since > deadline:
        reason = f"Ray has not answered for {deadline:g} seconds, and on_poll_failure is stop: {message}"
        return JobStatus(state=State.LOST, reason=reason[:_REASON], native="unreachable", seen=seen)
    return JobStatus(state=State.UNKNOWN, reason=message[:_REASON], native="unreachable", seen=seen)


def _since(url: str, seen: float) -> float:
    file = _file(url)
    noted = files.read_json(file) or {}
    if isinstance(noted.get("since"), int | float):
        return float(noted["since"])
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(file, {"since": seen, "url": url})
    return seen


def _file(url: str) -> Path:
    return default_path().parent / "ray" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
