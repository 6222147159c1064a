"""What the engine says of a job's containers, and what the job says itself, as one state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.backends.docker_engine import Owner, last_lines
from launcher.jobs import JobHandle, JobStatus, State
from launcher.runs import run_directory as files

# What the code is where nobody says one: EX_SOFTWARE, as of the job's own script.
_NO_CODE = 70


def judge(handle: JobHandle, found: Mapping[Owner, Any], seen: float) -> JobStatus:
    """`found` are the containers of all jobs."""
    attempt = handle.key, str(handle.attempt)
    container, server = found.get((*attempt, "job")), found.get((*attempt, "server"))
    ended = files.read_exit(Path(handle.directory))
    native = str(container.attrs["State"]) if container is not None else "gone"
    if native in ("running", "paused", "restarting", "removing"):
        if server is not None and server.attrs["State"] in ("exited", "dead") and ended is None:
            reason = f"the deployment ended before the evaluation{last_lines(server)}"
            return JobStatus(state=State.FAILED, reason=reason, native="server exited", seen=seen)
        stage = Path(handle.directory) / "stage.running"
        preparing = None if stage.exists() else "preparing"
        return JobStatus(state=State.RUNNING, reason=preparing, native=native, seen=seen)
    if native == "created" and not handle.native_id:
        # Its launcher ended before it could start it: submitting again does.
        return JobStatus(state=State.LOST, reason="it was never started", native=native, seen=seen)
    if native == "created":
        return JobStatus(state=State.QUEUED, native=native, seen=seen)
    said = ended if ended is not None and ended.attempt == handle.attempt else None
    if said is not None and (said.exit_code != 137 or container is None):
        return said.status(native, seen)
    if container is None:
        return JobStatus(state=State.LOST, reason="its container is gone", native=native, seen=seen)
    return _exited(container, said).status(native, seen)


def _exited(container: Any, said: files.Exit | None) -> files.Exit:
    """How a container ended that may have been killed: the engine knows best whether its memory was why."""
    container.reload()
    state = container.attrs["State"]
    if state.get("OOMKilled"):
        return files.Exit(exit_code=137, reason="out of memory")
    if said is not None:
        return said
    code = int(state["ExitCode"]) or _NO_CODE
    return files.Exit(exit_code=code, reason=state.get("Error") or _unsaid(code))


def _unsaid(code: int) -> str:
    """The end of a job whose script could not say how it ended."""
    if code > 128:
        return f"killed by signal {code - 128}, without an exit.json"
    return "its script left no exit.json"
