"""Backend `process`: the harness's packages in a virtual environment, its command on this machine."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import Unreachable
from launcher.backends import process_runner, processes
from launcher.backends.protocol import NotSent
from launcher.code import packaging
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node.job_script import job_script, run_config
from launcher.runs import run_directory as files
from launcher.secrets import named

START_TIMEOUT = 60.0


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    return {
        "backend": "process",
        "command": ["/bin/sh", files.SCRIPT],
        "directory": job.directory,
        "packages": list(job.packages),
        "code": job.code,
        "secrets": [secret.name for secret in job.secrets],
        "deployment": dataclasses.asdict(job.deployment) if job.deployment else None,
        "scripts": {files.SCRIPT: _script(run, job, attempt=1)},
    }


def submit(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
    folder = Path(run.directory) / job.directory
    with files.submitting(folder) as lock:
        state = _state(folder, attempt)
        if state is None:
            _stage(run, job, folder, attempt, secrets)
            try:
                state = _start(folder, attempt, lock)
            except BaseException:
                files.forget_secrets(folder)
                raise
    return JobHandle(
        key=job.key,
        backend="process",
        native_id=_native(state),
        directory=str(folder),
        attempt=attempt,
    )


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    return {handle.key: _status(handle) for handle in handles}


def logs(handle: JobHandle, since: int) -> LogChunk:
    return LogChunk(*files.read_log(Path(handle.directory) / files.JOB_LOG, since))


def cancel(handle: JobHandle) -> None:
    native = _native_of(handle)
    if not native:
        # It was laid out and never started.
        files.forget_secrets(Path(handle.directory))
    elif _alive(native):
        try:
            os.kill(int(native.partition(":")[0]), signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise Unreachable(f"the job's runner can't be stopped: {error}") from None


def collect(handle: JobHandle, destination: Path) -> Path:
    """A runner that was killed leaves its job's processes behind: they end here."""
    native = _native_of(handle)
    if native and _here(native) and not _alive(native):
        processes.kill(f"{handle.key}/{handle.attempt}/")
        files.forget_secrets(Path(handle.directory))
    files.bring(Path(handle.directory), destination)
    return destination


def _script(run: RunPlan, job: JobPlan, attempt: int) -> str:
    return job_script(
        job,
        results=run.results(job, contained=False),
        attempt=attempt,
        inputs=run.inputs(job, contained=False),
    )


def _stage(run: RunPlan, job: JobPlan, folder: Path, attempt: int, secrets: Mapping[str, str]) -> None:
    files.begin_attempt(folder, job, attempt)
    files.write_bytes(folder / files.SCRIPT, _script(run, job, attempt).encode())
    files.write_bytes(folder / files.RUN_CONFIG, run_config(job))
    files.write_secrets(folder, named(job.secrets, secrets))
    if job.deployment:
        files.write_secrets(folder / files.SERVER, named(job.deployment.secrets, secrets))
    runner_plan = {
        "key": job.key,
        "attempt": attempt,
        "kind": job.kind,
        "packages": list(job.packages),
        "code": str(packaging.unpacked(run, job.code)) if job.code else None,
        "root": run.settings.get("catalog_root", "."),
        "runtime": [secret.source for secret in job.secrets if secret.where == "runtime"],
        "deployment": dataclasses.asdict(job.deployment) if job.deployment else None,
    }
    files.write_json(folder / process_runner.PLAN, runner_plan)


def _start(folder: Path, attempt: int, lock: int) -> Mapping[str, Any]:
    """Starts the runner and waits until it has written who it is. It holds the lock on submitting until then:
    a launcher that comes after one that was killed here waits, and finds the runner."""
    reading, writing = os.pipe()
    try:
        with (folder / "runner.log").open("ab") as errors:
            subprocess.run(
                [
                    *(sys.executable, "-m", "launcher.backends.process_runner"),
                    *(str(folder), str(lock), str(writing)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(lock, writing),
                cwd=Path(__file__).parents[2],
                check=False,
            )
    finally:
        os.close(writing)
    # The other end is closed by the runner, or by its death.
    with os.fdopen(reading, "rb"):
        select.select([reading], [], [], START_TIMEOUT)
    state = _state(folder, attempt)
    if state is None:
        raise NotSent(
            "the job's runner did not start",
            place=str(folder / "runner.log"),
            hint="this file has what it printed",
        )
    return state


def _state(folder: Path, attempt: int) -> Mapping[str, Any] | None:
    state = files.read_json(folder / process_runner.STATE)
    return state if state is not None and state.get("attempt") == attempt else None


def _native(state: Mapping[str, Any]) -> str:
    return f"{state['pid']}:{state['start']}:{state['boot']}:{state['host']}"


def _native_of(handle: JobHandle) -> str:
    """Where the id was never learnt, what the runner left in the job's folder."""
    if handle.native_id:
        return handle.native_id
    state = _state(Path(handle.directory), handle.attempt)
    return _native(state) if state else ""


def _status(handle: JobHandle) -> JobStatus:
    folder, seen, native = Path(handle.directory), time.time(), _native_of(handle)
    if not native:
        return JobStatus(state=State.LOST, reason="it was never started", native="unknown", seen=seen)
    # Asked first: a runner that ends between the two questions has left its exit.json by the second.
    alive = _alive(native)
    ended = files.read_exit(folder)
    if alive:
        if not (folder / "stage.running").exists():
            return JobStatus(state=State.RUNNING, reason="preparing", native="alive", seen=seen)
        return JobStatus(state=State.RUNNING, native="alive", seen=seen)
    if ended is not None and ended.attempt == handle.attempt:
        return ended.status("ended", seen)
    if not _here(native):
        reason = f"it runs on {native.rpartition(':')[2]}, which only that machine can tell of"
        return JobStatus(state=State.UNKNOWN, reason=reason, native="elsewhere", seen=seen)
    reason = "its process is gone and left no exit.json"
    return JobStatus(state=State.LOST, reason=reason, native="gone", seen=seen)


def _here(native: str) -> bool:
    return native.rpartition(":")[2] == socket.gethostname()


def _alive(native: str) -> bool:
    pid, start, boot, host = native.split(":", 3)
    now = processes.identity(int(pid))
    return [start, boot, host] == [str(now["start"]), now["boot"], now["host"]]
