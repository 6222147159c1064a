"""Records of Ray jobs: `events.jsonl` in the run's folder, `logs/ray.log` in the job's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher import run_directory as files
from launcher.jobs import JobHandle, JobPlan, RunPlan

EVENTS = "events.jsonl"
RAY_LOG = "logs/ray.log"
_MOST = 256 << 10  # bytes of Ray's own log that are kept
_MESSAGE = 500  # characters


def submitted(run: RunPlan, job: JobPlan, attempt: int, submission_id: str) -> None:
    _note(
        Path(run.directory),
        {
            "event": "submitted",
            "key": job.key,
            "attempt": attempt,
            "task": job.task,
            "submission_id": submission_id,
            "dashboard_url": run.settings.get("dashboard_url"),
        },
    )


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
    folder = destination.parent.parent
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
    if destination.parent.name == "jobs" and not _noted(folder / EVENTS, submission_id):
        _note(folder, event)


def _noted(file: Path, submission_id: str) -> bool:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return False
    return any('"terminal"' in line and f'"{submission_id}"' in line for line in lines)


def _note(folder: Path, event: Mapping[str, Any]) -> None:
    # A record is for people and tools beside: a full disk must not lose the job.
    with suppress(OSError), (folder / EVENTS).open("a") as file:
        file.write(json.dumps({"time": files.timestamp(), **event}, ensure_ascii=False) + "\n")
