"""Handing jobs to Slurm: everything in one command, whose input holds what belongs into their folders."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from catalog.errors import Refused, Unreachable
from launcher.backends import slurm_commands as commands
from launcher.backends import slurm_script as scripts
from launcher.backends.protocol import NoRoom, NotSent
from launcher.backends.slurm_hosts import ABSENT, host_of, last_line
from launcher.backends.slurm_names import named
from launcher.code import packaging
from launcher.configuration.slurm import misread
from launcher.hosts import Host, Ran
from launcher.jobs import JobHandle, JobPlan, RunPlan
from launcher.node.runtimes import code_folder
from launcher.runs import run_directory as files

# What sbatch says when its controller can't be asked; all else is an answer.
_LATER = (
    *("contact slurm controller", "timed out", "connection refused", "temporarily", "zero bytes were"),
    # A controller that is about to take over; munge that is being started again.
    *("in standby mode", "protocol authentication error"),
)
# Limits on what a user, an account or a QOS may have submitted: see "REASON" in squeue(1).
_NO_ROOM = ("MaxSubmit", "GrpSubmit")
# The code of a submission that could not lay its files down, and what of that passes.
_NOT_WRITTEN = 70
_PASSING = ("no space left", "wrote only", "quota exceeded", "stale file handle", "input/output error")
# Its folders, the job's own first.
_FOLDERS = ("", f"/{files.LOGS}", f"/{files.ARTIFACTS}", f"/{files.SERVER}")
# Archives that this process has seen arrive.
_shipped: set[tuple[str, str]] = set()


def hand_over(
    run: RunPlan,
    jobs: Sequence[JobPlan],
    attempt: int,
    secrets: Mapping[str, Mapping[str, str]],
    after: Sequence[JobHandle],
    *,
    at_once: int = 1,
) -> dict[str, JobHandle]:
    """Several jobs as one array. Where some are there already, it is these, and no others."""
    if odd := misread(run.remote or run.directory):
        hint = "have the runs in another folder: execution.output_dir or --output-dir"
        raise Refused(f"{odd} in this folder's path means something to Slurm", place=run.directory, hint=hint)
    host = host_of(run.settings)
    try:
        host.ready()
    except Unreachable as error:
        raise NotSent(error.message, place=error.place, hint=error.hint) from None
    for job in jobs:
        _ship(host, run, job)
    names = {job.key: named(job.key, attempt) for job in jobs}
    text = commands.submit(
        run=run.remote or run.directory,
        jobs=[(names[job.key], job.directory) for job in jobs],
        flags=_behind(after),
        runtime_names={s.source for job in jobs for s in job.secrets if s.where == "runtime"},
        settings=run.settings,
    )
    numbers = _numbers(host.script(text, data=_packed(run, jobs, attempt, secrets, at_once)), host)
    return {
        job.key: JobHandle(
            key=job.key,
            backend="slurm",
            native_id=numbers[names[job.key].name],
            directory=run.folder(job),
            attempt=attempt,
            settings=run.settings,
        )
        for job in jobs
        if names[job.key].name in numbers
    }


def _behind(after: Sequence[JobHandle]) -> list[str]:
    ids = ":".join(handle.native_id for handle in after)
    return [f"--dependency=afterok:{ids}", "--kill-on-invalid-dep=yes"] if ids else []


def _ship(host: Host, run: RunPlan, job: JobPlan) -> None:
    """The archive of the job's code, once for all runs: the node unpacks it."""
    if not job.code:
        return
    target = f"{code_folder(scripts.root_of(run), job)}{packaging.SUFFIX}"
    if (host.name, target) not in _shipped:
        made = host.run(["mkdir", "-p", str(PurePosixPath(target).parent)])
        if made.code:
            raise _not_written(last_line(made), host.name)
        host.put(Path(run.directory) / files.CODE / f"{job.code}{packaging.SUFFIX}", target)
        _shipped.add((host.name, target))


def _packed(
    run: RunPlan,
    jobs: Sequence[JobPlan],
    attempt: int,
    secrets: Mapping[str, Mapping[str, str]],
    at_once: int,
) -> bytes:
    """A tar file of what belongs below the run's folder."""
    made = scripts.submission_file(run, jobs, attempt, at_once)
    for job in jobs:
        own = scripts.job_files(run, job, attempt, secrets[job.key])
        made |= {f"{job.directory}/{name}": file for name, file in own.items()}
    stream, now = io.BytesIO(), int(time.time())
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in (f"{job.directory}{below}" for job in jobs for below in _FOLDERS):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, now
            archive.addfile(member)
        for name, (content, mode) in made.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), mode, now
            archive.addfile(member, io.BytesIO(content))
        for name, target in scripts.array_links(run, jobs, attempt).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mtime = tarfile.SYMTYPE, target, now
            archive.addfile(member)
    return stream.getvalue()


def _numbers(ran: Ran, host: Host) -> dict[str, str]:
    """The jobs' numbers by their names, or why there are none."""
    made: dict[str, str] = {}
    answer, _, rest = ran.out.decode("utf-8", "replace").partition("\n")
    for line in (answer, *rest.splitlines()):
        word, _, value = line.partition(" ")
        name, _, number = value.partition(" ")
        if word == "id" and number.replace("_", "").isdigit():
            made[name] = number
    if made:
        return made
    word, _, code = answer.partition(" ")
    if word == "busy":
        raise NotSent("another launcher is submitting the same job", place=host.name)
    if word != "refused" and ran.code == _NOT_WRITTEN:
        # tar says why it can't go on before its last line.
        lines = (line for line in ran.err.splitlines() if "Exiting with failure" not in line)
        raise _not_written(last_line(replace(ran, err="\n".join(lines))), host.name)
    if word != "refused":
        raise Unreachable(f"nothing could be laid down there: {last_line(ran)}", place=host.name)
    raise _refusal(code, _spoken(rest) or f"exit code {code}", host.name)


def _spoken(text: str) -> str:
    """What a command of Slurm's wrote, without its own name before each line."""
    return "; ".join(re.sub(r"^\w+: error: ", "", line.strip()) for line in text.splitlines() if line.strip())


def _not_written(said: str, place: str) -> Refused | Unreachable:
    if any(word in said.lower() for word in _PASSING):
        hint = "the job waits; make room there, or take another execution.output_dir"
        return Unreachable(f"nothing could be laid down there: {said}", place=place, hint=hint)
    hint = "execution.output_dir: a folder on the cluster that its nodes share and you may write in"
    return Refused(f"nothing can be written there: {said}", place=place, hint=hint)


def _refusal(code: str, said: str, place: str) -> Refused | Unreachable:
    if code == str(ABSENT):
        hint = "name their folder: execution.slurm_bin"
        return Refused(f"Slurm's commands are not to be found: {said}", place=place, hint=hint)
    if any(word in said.lower() for word in _LATER):
        return Unreachable(f"Slurm doesn't answer: {said}", place=place)
    if "dependency" in said.lower():
        # It ended at this moment: the next round knows.
        return NotSent(f"Slurm refused the job's dependencies: {said}", place=place)
    if any(word in said for word in _NO_ROOM):
        return NoRoom(f"Slurm takes no more jobs at the moment: {said}", place=place)
    return Refused(
        f"Slurm refused the job: {said}",
        place=place,
        hint="`evaldock doctor` with the same configuration says what doesn't fit",
    )
