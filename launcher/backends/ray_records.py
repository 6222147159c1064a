"""Records of Ray jobs: `events.jsonl` in the run's folder, `logs/ray.log` in the job's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.jobs import JobHandle, JobPlan, RunPlan
from launcher.runs import run_directory as files

EVENTS = "events.jsonl"
RAY_LOG = "logs/ray.log"
_MOST = 256 << 10  # bytes of Ray's own log that are kept
_MESSAGE = 500  # characters


def submitted(run: RunPlan, job: JobPlan, attempt: int, submission_id: str) -> None:
    handle = JobHandle(
        key=job.key,
        backend="ray",
        native_id=submission_id,
        directory="",
        attempt=attempt,
        settings=run.settings,
    )
    _submitted(Path(run.directory), handle, submission_id)


def terminal(
    handle: JobHandle,
    destination: Path,
    *,
    submission_id: str,
    job: Mapping[str, Any] | None,
    output: bytes,
    left_out: str | None,
) -> None:
    """Once for each attempt, however often it is collected."""
    ended = files.read_exit(destination)
    own = ended if ended is not None and ended.attempt == handle.attempt else None
    native = str(job.get("status")) if job else "unknown to Ray"
    code = own.exit_code if own else (job or {}).get("driver_exit_code")
    line = f"evaldock: {submission_id} is {native}"
    line += f", exit code {code}" if code is not None else ", without an exit code"
    line += f": {own.reason}" if own and own.reason else ""
    notes = [f"evaldock: {left_out}"] if left_out else []
    with suppress(OSError):
        (destination / files.LOGS).mkdir(parents=True, exist_ok=True)
        text = "\n".join([output[-_MOST:].decode("utf-8", "replace").rstrip("\n"), *notes, line, ""])
        files.write_bytes(destination / RAY_LOG, text.lstrip("\n").encode())
    if destination.parent.name != "jobs":
        return
    folder = destination.parent.parent
    if job is not None:
        # Whoever handed it over may have ended before it could say so.
        began = job.get("start_time")
        _submitted(folder, handle, submission_id, began / 1000 if isinstance(began, int) else None)
    event = {
        "event": "terminal",
        "key": handle.key,
        "attempt": handle.attempt,
        "submission_id": submission_id,
        "status": native,
        "exit_code": code,
        "reason": own.reason if own else None,
        "message": str((job or {}).get("message") or "")[:_MESSAGE] or None,
        "left_out": left_out,
    }
    _note(folder, submission_id, event)


def _submitted(folder: Path, handle: JobHandle, submission_id: str, at: float | None = None) -> None:
    event = {
        "event": "submitted",
        "key": handle.key,
        "attempt": handle.attempt,
        "submission_id": submission_id,
        "dashboard_url": handle.settings.get("dashboard_url"),
    }
    _note(folder, submission_id, event, at)


def _note(folder: Path, submission_id: str, event: Mapping[str, Any], at: float | None = None) -> None:
    """Each event of a job once. It is for people and tools beside: a full disk must not lose the job."""
    file = folder / EVENTS
    with suppress(OSError):
        lines = file.read_text().splitlines() if file.exists() else []
        if any(f'"event": "{event["event"]}"' in one and f'"{submission_id}"' in one for one in lines):
            return
        with file.open("a") as stream:
            stream.write(json.dumps({"time": files.timestamp(at), **event}, ensure_ascii=False) + "\n")
