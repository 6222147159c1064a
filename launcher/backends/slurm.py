"""Backend `slurm`: a job is one batch script on a cluster, or a task of an array of them. The cluster's head
node is reached by SSH or is this machine.

Each call is one command there: what submitting needs travels on its input, one question is for all jobs of a
run. A job is found again by its name, which holds its key and attempt, or by its array's and its index. Slurm
starts it again under the same number where it was preempted, its node failed or its time was up.
"""

from __future__ import annotations

import posixpath
import shutil
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import EvaldockError, Refused, Unreachable
from launcher.backends import slurm_answers as answers
from launcher.backends import slurm_commands as commands
from launcher.backends import slurm_script as scripts
from launcher.backends.slurm_hosts import checked, host_of, last_line
from launcher.backends.slurm_names import indexes, named
from launcher.backends.slurm_states import judge
from launcher.backends.slurm_submitting import hand_over
from launcher.hosts import ThisHost
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node.node_script import NODE_SCRIPT
from launcher.runs import run_directory as files

# A job may be submitted behind others of its run that haven't ended: `submit` takes their handles as `after`.
NATIVE_DEPENDENCIES = True
# Their names stand in one word of a command, which can have 128 KiB on Linux.
MOST_STOPPED = 1000
# Seconds that the files of a job may take to be read where they are.
LISTING = 1800.0
# What a dry run prints of the files; the job's own plan is printed anyway.
_SHOWN = (NODE_SCRIPT, files.SCRIPT, files.RUN_CONFIG)


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    together = scripts.array_of(run, job)
    ((path, text),) = scripts.submission_file(run, together, 1, run.parallel).items()
    name = posixpath.relpath(path, job.directory)
    made = {name: text, **scripts.job_files(run, job, 1, {})}
    # Once for all tasks of an array.
    shown = (name, *_SHOWN) if job.key == together[0].key else _SHOWN
    return {
        "backend": "slurm",
        "host": run.settings.get("hostname"),
        "directory": run.folder(job) if run.remote else job.directory,
        "container_runtime": scripts.runtime_of(run),
        "array": indexes(together, run.parallel) if len(together) > 1 else None,
        "secrets": [secret.name for secret in job.secrets],
        "files": {name: f"{mode:04o}" for name, (_, mode) in made.items()},
        "scripts": {name: made[name][0].decode() for name in shown},
    }


def submit(
    run: RunPlan,
    job: JobPlan,
    attempt: int,
    secrets: Mapping[str, str],
    after: Sequence[JobHandle] = (),
) -> JobHandle:
    return hand_over(run, [job], attempt, {job.key: secrets}, after)[job.key]


def alike(run: RunPlan, job: JobPlan) -> Hashable | None:
    return scripts.alike(run, job)


def submit_together(
    run: RunPlan,
    jobs: Sequence[JobPlan],
    attempt: int,
    secrets: Mapping[str, Mapping[str, str]],
    after: Sequence[JobHandle] = (),
    *,
    at_once: int,
) -> Mapping[str, JobHandle]:
    """As one array."""
    return hand_over(run, jobs, attempt, secrets, after, at_once=at_once)


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    seen = time.time()
    if not handles:
        return {}
    names = [named(handle.key, handle.attempt) for handle in handles]
    try:
        host = host_of(handles[0].settings)
        jobs = [(name, handle.directory) for name, handle in zip(names, handles, strict=True)]
        ids = [handle.native_id for handle in handles if handle.native_id]
        text = commands.status(jobs, ids, handles[0].settings)
        answer = answers.read_status(checked(host.script(text), host).out)
    except EvaldockError as error:
        return {h.key: JobStatus(state=State.UNKNOWN, reason=error.message, seen=seen) for h in handles}
    if len(answer.folders) != len(handles):
        cut = JobStatus(state=State.UNKNOWN, reason=f"{host.name} answered only in part", seen=seen)
        return {handle.key: cut for handle in handles}
    asked = zip(handles, names, answer.folders, strict=True)
    return {handle.key: judge(handle, known.name, folder, answer, seen) for handle, known, folder in asked}


def logs(handle: JobHandle, since: int) -> LogChunk:
    host = host_of(handle.settings)
    out = checked(host.script(commands.log(handle.directory, since)), host).out
    begin, _, data = out.partition(b"\n")
    if not begin.strip().isdigit():
        return LogChunk(b"", since)
    return LogChunk(data, int(begin) + len(data))


def cancel(handle: JobHandle) -> None:
    cancel_together([handle])


def cancel_together(handles: Sequence[JobHandle]) -> None:
    """With one command for so many of them."""
    host = host_of(handles[0].settings)
    jobs = [(named(handle.key, handle.attempt), handle.directory) for handle in handles]
    for begin in range(0, len(jobs), MOST_STOPPED):
        text = commands.cancel(jobs[begin : begin + MOST_STOPPED], handles[0].settings)
        ran = checked(host.script(text), host)
        if ran.code != 0:
            raise Unreachable(f"Slurm did not stop it: {last_line(ran)}", place=host.name)


def collect(handle: JobHandle, destination: Path) -> Path:
    host = host_of(handle.settings)
    ran = checked(host.script(commands.listing(handle.directory), timeout=LISTING), host)
    listed = answers.read_listing(ran.out)
    here = isinstance(host, ThisHost) and Path(handle.directory).resolve() == destination.resolve()
    if listed is None or here:
        return destination
    for file in listed:
        target = _room_for(destination, _inside(file.path))
        host.get(f"{handle.directory}/{file.path}", target, file.size, file.sha256)
    # What an earlier attempt left here, and this one didn't leave there.
    there = {file.path for file in listed}
    for name in (*files.STAGES, files.EXIT, files.DEPLOYMENT_LOG, files.RESULTS):
        if name not in there:
            (destination / name).unlink(missing_ok=True)
    return destination


def _inside(path: str) -> PurePosixPath:
    """A listed path, which must lead nowhere else."""
    made = PurePosixPath(path)
    if made.is_absolute() or ".." in made.parts:
        raise Refused(f"a listing names {path!r}, which is not in the job's folder")
    return made


def _room_for(destination: Path, path: PurePosixPath) -> Path:
    """Where a file comes. What an earlier attempt left here, and this one has as something else, goes: no
    link of its is written through."""
    target = destination / path
    for folder in reversed(target.relative_to(destination).parents[:-1]):
        here = destination / folder
        if here.is_symlink() or (here.exists() and not here.is_dir()):
            here.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    return target
