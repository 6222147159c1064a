"""Backend `process`: the harness's packages in a virtual environment, its command on this machine."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import Unreachable
from launcher import run_directory as files
from launcher.backends import process_runner
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.script import job_script, run_config

START_TIMEOUT = 20.0


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    return {
        "backend": "process",
        "command": ["/bin/sh", files.SCRIPT],
        "directory": job.directory,
        "packages": list(job.packages),
        "secrets": [secret.name for secret in job.secrets],
        "deployment": dataclasses.asdict(job.deployment) if job.deployment else None,
        "script": job_script(job, results=_results(run, job)),
    }


def submit(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
    folder = Path(run.directory) / job.directory
    state = _state(folder, attempt)
    if state is None:
        folder.mkdir(parents=True, exist_ok=True)
        _stage(run, job, folder, attempt, secrets)
        state = _start(folder, attempt)
    return JobHandle(
        key=job.key,
        backend="process",
        native_id=f"{state['pid']}:{state['start']}:{state['boot']}",
        directory=str(folder),
        attempt=attempt,
    )


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    return {handle.key: _status(handle) for handle in handles}


def logs(handle: JobHandle, since: int) -> LogChunk:
    return LogChunk(*files.read_log(Path(handle.directory) / files.JOB_LOG, since))


def cancel(handle: JobHandle) -> None:
    if _alive(handle.native_id):
        try:
            os.kill(int(handle.native_id.partition(":")[0]), signal.SIGTERM)
        except ProcessLookupError:
            return


def collect(handle: JobHandle, destination: Path) -> Path:
    source = Path(handle.directory)
    if source.resolve() != destination.resolve():
        shutil.copytree(source, destination, dirs_exist_ok=True, symlinks=True)
    return destination


def _results(run: RunPlan, job: JobPlan) -> str:
    return str(Path(run.directory) / job.directory / files.ARTIFACTS)


def _stage(run: RunPlan, job: JobPlan, folder: Path, attempt: int, secrets: Mapping[str, str]) -> None:
    files.begin_attempt(folder, attempt)
    files.write_bytes(
        folder / files.SCRIPT, job_script(job, results=_results(run, job), attempt=attempt).encode()
    )
    files.write_bytes(folder / files.RUN_CONFIG, run_config(job))
    files.write_secrets(folder, secrets)
    runner_plan = {
        "attempt": attempt,
        "packages": list(job.packages),
        "root": run.settings.get("catalog_root", "."),
        "runtime": [secret.source for secret in job.secrets if secret.where == "runtime"],
        "deployment": dataclasses.asdict(job.deployment) if job.deployment else None,
    }
    files.write_json(folder / process_runner.PLAN, runner_plan)


def _start(folder: Path, attempt: int) -> Mapping[str, Any]:
    """The runner writes its own identity under its lock: of two that are started, one stands."""
    runner = subprocess.Popen(
        [sys.executable, "-m", "launcher.backends.process_runner", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "runner.log").open("ab"),
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        state = _state(folder, attempt)
        if state is not None:
            return state
        runner.poll()
        time.sleep(0.02)
    raise Unreachable(
        f"the job's runner did not start within {START_TIMEOUT:g} seconds",
        place=str(folder / "runner.log"),
        hint="this file has what it printed",
    )


def _state(folder: Path, attempt: int) -> Mapping[str, Any] | None:
    state = files.read_json(folder / process_runner.STATE)
    return state if state is not None and state.get("attempt") == attempt else None


def _status(handle: JobHandle) -> JobStatus:
    folder, seen = Path(handle.directory), time.time()
    # Asked first: a runner that ends between the two questions has left its exit.json by the second.
    alive = _alive(handle.native_id)
    ended = files.read_exit(folder)
    if alive:
        if not (folder / "stage.running").exists():
            return JobStatus(state=State.RUNNING, reason="preparing", native="alive", seen=seen)
        return JobStatus(state=State.RUNNING, native="alive", seen=seen)
    if ended is None or ended.attempt != handle.attempt:
        reason = "its process is gone and left no exit.json"
        return JobStatus(state=State.LOST, reason=reason, native="gone", seen=seen)
    if ended.exit_code == 0:
        state = State.SUCCEEDED
    elif ended.reason == "stopped on request":
        state = State.CANCELLED
    else:
        state = State.FAILED
    return JobStatus(state=state, reason=ended.reason, exit_code=ended.exit_code, native="ended", seen=seen)


def _alive(native_id: str) -> bool:
    pid, start, boot = native_id.split(":")
    now = process_runner.identity(int(pid))
    return start.isdigit() and now["start"] == int(start) and now["boot"] == boot
