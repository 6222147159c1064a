"""Backend `slurm`: a job is one batch script on a cluster, whose head node is reached by SSH or is this
machine.

Each call is one command there: what submitting needs travels on its input, one question is for all jobs of a
run. A job is found again by its name, which holds its key and attempt. Slurm starts it again under the same
number where it was preempted, its node failed or its time was up.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import EvaldockError, Refused, Unreachable
from launcher.backends import slurm_answers as answers
from launcher.backends import slurm_commands as commands
from launcher.backends.docker_arguments import SERVER_FOLDER
from launcher.backends.protocol import NotSent
from launcher.backends.slurm_script import SUBMISSION, Files, job_files, job_name, root_of, runtime_of
from launcher.backends.slurm_states import judge
from launcher.code import packaging
from launcher.hosts import Host, Ran, ThisHost
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node.node_script import NODE_SCRIPT
from launcher.node.runtimes import code_folder
from launcher.runs import run_directory as files

# A job may be submitted behind others of its run that haven't ended: `submit` takes their handles as `after`.
NATIVE_DEPENDENCIES = True
# What sbatch says when its controller can't be asked; all else is an answer.
_LATER = ("contact slurm controller", "timed out", "connection refused", "temporarily", "zero bytes were")
_ABSENT = 127
# What a dry run prints of the files; the job's own plan is printed anyway.
_SHOWN = (SUBMISSION, NODE_SCRIPT, files.SCRIPT, files.RUN_CONFIG)
# Archives that this process has seen arrive.
_shipped: set[tuple[str, str]] = set()


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    made = job_files(run, job, 1, {})
    return {
        "backend": "slurm",
        "host": run.settings.get("hostname"),
        "directory": run.folder(job) if run.remote else job.directory,
        "container_runtime": runtime_of(run),
        "secrets": [secret.name for secret in job.secrets],
        "files": {name: f"{mode:04o}" for name, (_, mode) in made.items()},
        "script": "\n".join(f"# ==> {name} <==\n{made[name][0].decode()}" for name in _SHOWN),
    }


def submit(
    run: RunPlan,
    job: JobPlan,
    attempt: int,
    secrets: Mapping[str, str],
    after: Sequence[JobHandle] = (),
) -> JobHandle:
    host = host_of(run.settings)
    try:
        host.ready()
    except Unreachable as error:
        raise NotSent(error.message, place=error.place, hint=error.hint) from None
    _ship(host, run, job)
    folder, flags = run.folder(job), []
    if after:
        ids = ":".join(handle.native_id for handle in after)
        flags = [f"--dependency=afterok:{ids}", "--kill-on-invalid-dep=yes"]
    text = commands.submit(
        run=run.remote or run.directory,
        folder=folder,
        name=job_name(job, attempt),
        flags=flags,
        runtime_names={s.source for s in job.secrets if s.where == "runtime"},
        settings=run.settings,
    )
    ran = host.script(text, data=_packed(job.directory, job_files(run, job, attempt, secrets)))
    return JobHandle(
        key=job.key,
        backend="slurm",
        native_id=_number(ran, host),
        directory=folder,
        attempt=attempt,
        settings=run.settings,
    )


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    seen = time.time()
    if not handles:
        return {}
    settings, names = handles[0].settings, [_name_of(handle) for handle in handles]
    try:
        host = host_of(settings)
        jobs = [(name, handle.directory) for name, handle in zip(names, handles, strict=True)]
        text = commands.status(jobs, [h.native_id for h in handles if h.native_id], settings)
        answer = answers.read_status(_checked(host.script(text), host).out)
    except EvaldockError as error:
        return {h.key: JobStatus(state=State.UNKNOWN, reason=error.message, seen=seen) for h in handles}
    if len(answer.folders) != len(handles):
        cut = JobStatus(state=State.UNKNOWN, reason=f"{host.name} answered only in part", seen=seen)
        return {handle.key: cut for handle in handles}
    asked = zip(handles, names, answer.folders, strict=True)
    return {handle.key: judge(handle, name, folder, answer, seen) for handle, name, folder in asked}


def logs(handle: JobHandle, since: int) -> LogChunk:
    host = host_of(handle.settings)
    out = _checked(host.script(commands.log(handle.directory, since)), host).out
    begin, _, data = out.partition(b"\n")
    if not begin.strip().isdigit():
        return LogChunk(b"", since)
    return LogChunk(data, int(begin) + len(data))


def cancel(handle: JobHandle) -> None:
    host = host_of(handle.settings)
    text = commands.cancel(
        folder=handle.directory,
        name=_name_of(handle),
        native_id=handle.native_id,
        settings=handle.settings,
    )
    ran = _checked(host.script(text), host)
    if ran.code != 0:
        raise Unreachable(f"Slurm did not stop it: {_last(ran)}", place=host.name)


def collect(handle: JobHandle, destination: Path) -> Path:
    host = host_of(handle.settings)
    listed = answers.read_listing(_checked(host.script(commands.listing(handle.directory)), host).out)
    here = isinstance(host, ThisHost) and Path(handle.directory).resolve() == destination.resolve()
    if listed is None or here:
        return destination
    for file in listed:
        target = destination / _inside(file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        host.get(f"{handle.directory}/{file.path}", target, file.size, file.sha256)
    # What an earlier attempt left here, and this one didn't leave there.
    there = {file.path for file in listed}
    for name in (*files.STAGES, files.EXIT, files.DEPLOYMENT_LOG, files.RESULTS):
        if name not in there:
            (destination / name).unlink(missing_ok=True)
    return destination


def _name_of(handle: JobHandle) -> str:
    return f"evaldock-{handle.key}-{handle.attempt}"


def host_of(settings: Mapping[str, Any]) -> Host:
    """The head node."""
    if not settings.get("hostname"):
        return ThisHost()
    from launcher.ssh import Address, connection  # noqa: PLC0415 # on use, as paramiko behind it

    return connection(
        Address(
            hostname=settings["hostname"],
            username=settings.get("username"),
            port=settings.get("port"),
            key_path=settings.get("ssh_key_path"),
        )
    )


def _ship(host: Host, run: RunPlan, job: JobPlan) -> None:
    """The archive of the job's code, once for all runs: the node unpacks it."""
    if not job.code:
        return
    target = f"{code_folder(root_of(run), job)}{packaging.SUFFIX}"
    if (host.name, target) not in _shipped:
        host.run(["mkdir", "-p", str(PurePosixPath(target).parent)])
        host.put(Path(run.directory) / files.CODE / f"{job.code}{packaging.SUFFIX}", target)
        _shipped.add((host.name, target))


def _packed(folder: str, made: Files) -> bytes:
    """A tar file of the job's folder, below the run's."""
    stream, now = io.BytesIO(), int(time.time())
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("", files.LOGS, files.ARTIFACTS, SERVER_FOLDER):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, now
            archive.addfile(member)
        for name, (content, mode) in made.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), mode, now
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _number(ran: Ran, host: Host) -> str:
    """The job's number, or why there is none."""
    answer, _, rest = ran.out.decode("utf-8", "replace").partition("\n")
    word, _, value = answer.partition(" ")
    if word == "id" and value.replace("_", "").isdigit():
        return value
    if word == "busy":
        raise NotSent("another launcher is submitting the same job", place=host.name)
    if word != "refused":
        raise Unreachable(f"nothing could be laid down there: {_last(ran)}", place=host.name)
    said = " ".join(rest.split()) or f"exit code {value}"
    if value == str(_ABSENT):
        raise Refused(
            f"Slurm's commands are not to be found: {said}",
            place=host.name,
            hint="name their folder: execution.slurm_bin",
        )
    if any(word in said.lower() for word in _LATER):
        raise Unreachable(f"Slurm doesn't answer: {said}", place=host.name)
    if "dependency" in said.lower():
        # It ended at this moment: the next round knows.
        raise NotSent(f"Slurm refused the job's dependencies: {said}", place=host.name)
    raise Refused(f"Slurm refused the job: {said}", place=host.name, hint="see execution.* and sinfo there")


def _checked(ran: Ran, host: Host) -> Ran:
    if ran.code == _ABSENT and not ran.out:
        raise Refused(f"a command is missing: {_last(ran)}", place=host.name)
    return ran


def _last(ran: Ran) -> str:
    lines = [*ran.out.decode("utf-8", "replace").split("\n"), *ran.err.split("\n")]
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {ran.code}")


def _inside(path: str) -> PurePosixPath:
    """A listed path, which must lead nowhere else."""
    made = PurePosixPath(path)
    if made.is_absolute() or ".." in made.parts:
        raise Refused(f"a listing names {path!r}, which is not in the job's folder")
    return made
