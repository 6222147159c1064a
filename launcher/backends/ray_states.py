"""What Ray says of a job, and what the job says itself, as one state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from launcher.backends import ray_files, ray_stream
from launcher.backends.ray_api import Cluster
from launcher.backends.ray_entry import ALIVE, GONE
from launcher.jobs import JobHandle, JobStatus, State
from launcher.runs import run_directory as files

PENDING = "PENDING"
# Ray's JobStatus (ray.job_submission).
STATES: Mapping[str, State] = MappingProxyType(
    {
        PENDING: State.QUEUED,
        "RUNNING": State.RUNNING,
        "STOPPED": State.CANCELLED,
        "SUCCEEDED": State.SUCCEEDED,
        "FAILED": State.FAILED,
    }
)
# Its JobErrorType, where it says more than the exit code does.
ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "RUNTIME_ENV_SETUP_FAILURE": "Ray could not set up its environment",
        "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": "Ray found no place for it in time",
        "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": "Ray found no place for it",
        "JOB_SUPERVISOR_ACTOR_START_FAILURE": "Ray could not start it",
        "JOB_SUPERVISOR_ACTOR_DIED": "Ray's own process for it died",
        "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "Ray's own process for it failed",
        "JOB_ENTRYPOINT_COMMAND_START_ERROR": "Ray could not start its command",
    }
)
# Seconds in which a job whose Ray is gone ends by itself.
ENDING = 12.0
_REASON = 300  # characters


@dataclass(frozen=True, slots=True)
class _Seen:
    native: str
    at: float

    def status(self, state: State, reason: str | None = None, exit_code: int | None = None) -> JobStatus:
        return JobStatus(state=state, reason=reason, exit_code=exit_code, native=self.native, seen=self.at)


def terminal(job: Mapping[str, Any]) -> bool:
    return STATES.get(str(job.get("status")), State.UNKNOWN).terminal


def judge(cluster: Cluster, handle: JobHandle, job: Mapping[str, Any] | None, at: float) -> JobStatus:
    """`job` is what Ray says of it; None where Ray doesn't know it."""
    seen = _Seen("unknown" if job is None else str(job.get("status")), at)
    if job is not None and not terminal(job):
        return _going_on(handle, job, seen)
    ended = _own_word(cluster, handle, job)
    if ended is not None:
        return ended.status(seen.native, seen.at)
    if _still_ending(handle, at):
        return seen.status(State.RUNNING, "Ray has let go of it; its node is still ending it")
    if job is None:
        known = "doesn't know it" if not handle.native_id else "doesn't know it any more"
        return seen.status(State.LOST, f"Ray {known}, and it left no exit.json")
    return _without_a_word(job, seen)


def _going_on(handle: JobHandle, job: Mapping[str, Any], seen: _Seen) -> JobStatus:
    state = STATES.get(seen.native, State.UNKNOWN)
    if state is State.RUNNING and ray_files.is_shared(handle):
        running = (ray_files.here(handle) / "stage.running").exists()
        return seen.status(state, None if running else "preparing")
    deadline = handle.settings.get("pending_deadline")
    waited = seen.at - float(job.get("start_time") or seen.at * 1000) / 1000
    if state is State.QUEUED and deadline and waited > float(deadline):
        wanted = {
            name.removeprefix("entrypoint_"): job[name]
            for name in ("entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory")
            if job.get(name)
        } | {"labels": handle.settings.get("entrypoint_label_selector")}
        asked = ", ".join(f"{name}: {value}" for name, value in wanted.items() if value)
        reason = f"Ray found no node for it within {float(deadline):g} seconds"
        return seen.status(State.FAILED, f"{reason} ({asked})" if asked else reason)
    return seen.status(state)


def _own_word(cluster: Cluster, handle: JobHandle, job: Mapping[str, Any] | None) -> files.Exit | None:
    """The job's own exit.json, on shared storage or in its log."""
    if ray_files.is_shared(handle):
        return ray_files.own_exit(handle)
    if job is None or job.get("status") == "SUCCEEDED":
        return None
    output = ray_stream.output(cluster, job)
    ended = ray_stream.receive(output, str(job["submission_id"])).exit
    return ended if ended is not None and ended.attempt == handle.attempt else None


def _still_ending(handle: JobHandle, at: float) -> bool:
    """A job that had begun on shared storage has a while to leave its exit.json after Ray has let go of it,
    and as long as its node looks after it. The moment is kept beside it, for whoever asks next."""
    if not ray_files.is_shared(handle):
        return False
    folder = ray_files.here(handle)
    if not (folder / "stage.pre-start").exists():
        return False
    noted = files.read_json(folder / GONE) or {}
    sign = {"attempt": handle.attempt, "alive": _changed(folder / ALIVE)}
    known = isinstance(noted.get("since"), int | float)
    if not known or sign != {name: noted.get(name) for name in sign}:
        noted = {**sign, "since": time.time()}
        files.write_json(folder / GONE, noted)
    delay = handle.settings.get("storage_delay")
    return bool(at - float(noted["since"]) < (ENDING if delay is None else float(delay)))


def _changed(file: Path) -> int:
    """Compared with itself alone: the clock that made it is another machine's."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _without_a_word(job: Mapping[str, Any], seen: _Seen) -> JobStatus:
    message, kind = str(job.get("message") or ""), str(job.get("error_type") or "")
    code = job.get("driver_exit_code")
    if "killed by `ray.kill`" in message:
        return seen.status(State.CANCELLED, files.STOPPED)
    if seen.native == "SUCCEEDED":
        return seen.status(State.SUCCEEDED, exit_code=0)
    if seen.native == "STOPPED":
        return seen.status(State.CANCELLED, files.STOPPED)
    if kind in ERRORS:
        first = next((line.strip() for line in message.splitlines() if line.strip()), "")
        return seen.status(State.FAILED, f"{ERRORS[kind]}: {first}"[:_REASON])
    said = [
        line for line in message.splitlines() if line.startswith("evaldock: ") and " exit code " not in line
    ]
    reason = said[-1].removeprefix("evaldock: ") if said else "its script left no exit.json"
    return seen.status(State.FAILED, reason[:_REASON], code if isinstance(code, int) else None)
