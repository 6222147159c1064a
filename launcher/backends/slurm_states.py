"""Slurm's states in our words, and what they and a job's own exit.json come to together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from launcher.backends.slurm_answers import Answer, Folder, Row
from launcher.jobs import JobHandle, JobStatus, State
from launcher.runs import run_directory as files

# squeue(1) and sacct(1), "JOB STATE CODES". REVOKED is none of ours: another cluster has started the job.
STATES: Mapping[str, State] = MappingProxyType(
    {
        "PENDING": State.QUEUED,
        "REQUEUED": State.QUEUED,
        "REQUEUE_HOLD": State.QUEUED,
        "REQUEUE_FED": State.QUEUED,
        "RESV_DEL_HOLD": State.QUEUED,
        "SPECIAL_EXIT": State.QUEUED,
        "RESIZING": State.QUEUED,
        "RUNNING": State.RUNNING,
        "COMPLETING": State.RUNNING,
        "CONFIGURING": State.RUNNING,
        "SIGNALING": State.RUNNING,
        "STAGE_OUT": State.RUNNING,
        "SUSPENDED": State.RUNNING,
        "STOPPED": State.RUNNING,
        "COMPLETED": State.SUCCEEDED,
        "CANCELLED": State.CANCELLED,
        "BOOT_FAIL": State.FAILED,
        "DEADLINE": State.FAILED,
        "FAILED": State.FAILED,
        "NODE_FAIL": State.FAILED,
        "OUT_OF_MEMORY": State.FAILED,
        "PREEMPTED": State.FAILED,
        "TIMEOUT": State.FAILED,
    }
)
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "BOOT_FAIL": "its node did not boot",
        "DEADLINE": "Slurm ended it at its deadline",
        "NODE_FAIL": "its node failed",
        "OUT_OF_MEMORY": "out of memory",
        "PREEMPTED": "preempted by another job",
        "TIMEOUT": "its walltime was up",
    }
)
# The script is over, or would end at once where Slurm starts it again.
_OVER = ("COMPLETING", "PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")
# What Slurm puts for the signal of a job whose output file could not be opened on the node.
_NO_FOLDER, _NOT_LAUNCHED = 53, "JobLaunchFailure"
_ROOM = "is there room in execution.output_dir? logs/slurm.log may know more"
# Codes that a job leaves when it was ended from outside: its scheduler knows better why.
_ENDED_FROM_OUTSIDE = (137, 143)


def judge(handle: JobHandle, name: str, folder: Folder, answer: Answer, seen: float) -> JobStatus:
    native_id = handle.native_id or folder.native_id
    row = answer.rows.get(native_id) if native_id else answer.named.get(name)
    if row is not None and row.name != name:
        # Slurm has begun to count anew, and the number is another job's.
        row = None
    said = folder.exit if folder.exit and folder.exit.attempt == handle.attempt else None
    code = said.exit_code if said else None
    state = STATES.get(row.state, State.UNKNOWN) if row else None
    if row is not None and state in (State.QUEUED, State.RUNNING):
        if said and code not in _ENDED_FROM_OUTSIDE and row.state in _OVER:
            return said.status(row.state, seen)
        if not row.queued:
            if said and answer.asked:
                return said.status(row.state, seen)
            if state is State.QUEUED and folder.stopping and native_id and answer.asked:
                return JobStatus(state=State.CANCELLED, reason=files.STOPPED, native=row.state, seen=seen)
            reason = f"Slurm's queue has it no more, and its accounting says {row.state}"
            return JobStatus(state=State.UNKNOWN, reason=reason, native=row.state, seen=seen)
        return _alive(state, row, folder, said is not None, seen)
    if said and not (row and row.state in _REASONS and code in _ENDED_FROM_OUTSIDE):
        return said.status(row.state if row else "gone", seen)
    if row is not None and state is not State.UNKNOWN:
        return _by_slurm(row, STATES[row.state], seen)
    return _unheard_of(answer, row, native_id, folder.stopping, seen)


def _alive(state: State, row: Row, folder: Folder, said: bool, seen: float) -> JobStatus:
    if state is State.QUEUED:
        reason = row.reason if row.reason not in ("", "None") else None
    elif said:
        reason = "clearing up"
    else:
        reason = None if folder.running else "preparing"
    return JobStatus(state=state, reason=reason, native=row.state, seen=seen)


def _by_slurm(row: Row, state: State, seen: float) -> JobStatus:
    reason, code = _REASONS.get(row.state), row.exit_code
    if row.state == "CANCELLED" and row.reason == "DependencyNeverSatisfied":
        state, reason = State.FAILED, "a job that it depends on failed"
    if state is State.FAILED and (row.signal == _NO_FOLDER or row.reason == _NOT_LAUNCHED):
        reason = (
            "its node could not write below the job's folder; execution.output_dir must be a folder "
            "that all nodes share and you may write in, with room left"
        )
        code = None
    elif row.signal:
        code = 128 + row.signal
        reason = reason or f"killed by signal {row.signal}"
    elif state is State.FAILED and reason is None and not code:
        said = f"Slurm says {row.state}" + (f" ({row.reason})" if row.reason not in ("", "None") else "")
        reason, code = f"{said}, and it left no exit.json; {_ROOM}", None
    elif state is State.FAILED and reason is None:
        reason = f"exit code {code}, and it left no exit.json; {_ROOM}"
    if state is State.CANCELLED:
        code = None
    return JobStatus(state=state, reason=reason, exit_code=code, native=row.state, seen=seen)


def _unheard_of(
    answer: Answer, row: Row | None, native_id: str | None, stopping: bool, seen: float
) -> JobStatus:
    """Neither the queue nor the accounting tells of it. Only where both could be asked, it is gone."""
    if row is not None or not answer.asked or not (answer.accounted or answer.off):
        what = f"Slurm says {row.state}" if row else answer.trouble or "Slurm did not answer"
        return JobStatus(state=State.UNKNOWN, reason=what, native=row.state if row else None, seen=seen)
    if stopping and native_id:
        # Of an array's task that waited, Slurm keeps nothing.
        return JobStatus(state=State.CANCELLED, reason=files.STOPPED, native="gone", seen=seen)
    reason = "Slurm knows it no more, and it left no exit.json" if native_id else "it was never started"
    return JobStatus(state=State.LOST, reason=reason, native="gone", seen=seen)
