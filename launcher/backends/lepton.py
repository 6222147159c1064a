"""Backend `lepton`: the harness's image as a job of a Lepton workspace.

A job's name is made of its key and attempt: a launcher that comes back finds it by that. Names need not be
unique there, so where two launchers were equally quick, both keep the older job and remove the other.
Results come back through a mount that this machine sees too (`output_dir_here`), or through the job's log.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable
from launcher import lepton_endpoints
from launcher.backends import lepton_api, lepton_job, lepton_logs
from launcher.backends.lepton_api import Lepton
from launcher.backends.lepton_errors import NameTaken
from launcher.backends.protocol import NotSent
from launcher.code import packaging
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node import result_stream
from launcher.node.job_script import run_config
from launcher.runs import run_directory as files

SUBMITTED = "lepton.json"
COLLECTED = "collected.json"
# Lepton's words, see LeptonJobState of its client. What is not here is `unknown`.
STATES: Mapping[str, State] = {
    "Awaiting": State.QUEUED,
    "Queueing": State.QUEUED,
    "PendingRetry": State.QUEUED,
    "Starting": State.QUEUED,
    "Restarting": State.QUEUED,
    "Running": State.RUNNING,
    "Stopping": State.RUNNING,
    "Terminating": State.RUNNING,
    "Deleting": State.RUNNING,
    "Completed": State.SUCCEEDED,
    "Failed": State.FAILED,
    "Stopped": State.CANCELLED,
    "Deleted": State.LOST,
    "Archived": State.LOST,
}


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    endpoint = lepton_endpoints.specification(run, job)
    job = lepton_endpoints.keyed(run, job)
    return {
        "backend": "lepton",
        "endpoint": endpoint,
        "job": lepton_job.specification(run, job, attempt=1),
        "code": job.code,
        "secrets": [secret.source for secret in job.secrets],
        "scripts": {"lepton.sh": lepton_job.script(run, job, attempt=1)},
    }


def submit(
    run: RunPlan,
    job: JobPlan,
    attempt: int,
    secrets: Mapping[str, str],  # noqa: ARG001 # the protocol's
) -> JobHandle:
    """The values of `secrets` stay here: the workspace has its own."""
    folder = Path(run.directory) / job.directory
    with lepton_api.connected(run.settings) as lepton, files.submitting(folder):
        noted = _noted(folder, attempt)
        lepton.expect(noted.get("workspace", ""), job.key)
        native = noted.get("native_id") or _oldest(lepton, job.key, attempt)
        noted = {"attempt": attempt, "workspace": lepton.name}
        if native is None:
            _check_secrets(lepton, job)
            _stage(run, job, folder, attempt)
            groups = lepton.group_ids(run.settings.get("node_group", ()))
            placed = replace(run, settings={**run.settings, "node_group": groups})
            body = lepton_job.specification(placed, job, attempt, _code(run, job))
            # Before it is there: who comes back asks the workspace that may have it.
            files.write_json(folder / SUBMITTED, noted)
            try:
                native = _created(lepton, body, job, attempt)
            except NotSent:
                (folder / SUBMITTED).unlink()
                raise
        files.write_json(folder / SUBMITTED, {**noted, "native_id": native})
    return JobHandle(
        key=job.key,
        backend="lepton",
        native_id=f"{lepton.name}/{native}",
        directory=run.folder(job),
        attempt=attempt,
        settings=run.settings,
    )


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    """One question per run."""
    seen = time.time()
    answers: dict[str, JobStatus] = {}
    runs: dict[str, list[JobHandle]] = {}
    for handle in handles:
        runs.setdefault(handle.key.rpartition("-")[0], []).append(handle)
    for run_id, group in runs.items():
        try:
            with lepton_api.connected(group[0].settings) as lepton:
                listed = lepton.jobs(f"evaldock-{run_id}-")
                answers |= {handle.key: _answer(lepton, handle, listed, seen) for handle in group}
        except EvaldockError as error:
            answers |= {handle.key: _unknown(error, seen) for handle in group}
    return answers


def logs(handle: JobHandle, since: int) -> LogChunk:
    here = _here(handle)
    if here is not None:
        return LogChunk(*files.read_log(here / files.JOB_LOG, since))
    with lepton_api.connected(handle.settings) as lepton:
        native = _native(lepton, handle)
        return lepton_logs.read(lepton, handle, native, since) if native else LogChunk(b"", since)


def cancel(handle: JobHandle) -> None:
    with lepton_api.connected(handle.settings) as lepton:
        native = _native(lepton, handle)
        if native:
            lepton.stop_job(native)


def collect(handle: JobHandle, destination: Path) -> Path:
    here = _here(handle)
    if here is not None:
        files.bring(here, destination)
        return destination
    if (files.read_json(destination / COLLECTED) or {}).get("attempt") == handle.attempt:
        return destination
    with lepton_api.connected(handle.settings) as lepton:
        native = _native(lepton, handle)
        received = lepton_logs.receive(lepton, handle, native) if native else None
    if received is None:
        destination.mkdir(parents=True, exist_ok=True)
        return destination
    left_out = [received.left_out] if received.left_out else []
    (destination / files.LOGS).mkdir(parents=True, exist_ok=True)
    (destination / files.JOB_LOG).unlink(missing_ok=True)
    if received.packed is not None:
        try:
            left_out += result_stream.unpack(received.packed, destination)
        except Refused as error:
            # The archive is the job's, and can be anything: that is its own trouble, and nobody else's.
            left_out.append(error.message)
    # One that was too long to be repeated has come with the rest.
    if not (destination / files.JOB_LOG).exists():
        files.write_bytes(destination / files.JOB_LOG, received.log)
    if received.complete:
        files.write_json(destination / COLLECTED, {"attempt": handle.attempt, "left_out": left_out})
    return destination


def _noted(folder: Path, attempt: int) -> Mapping[str, Any]:
    """`workspace` and `native_id` of this attempt, as far as it came."""
    made = files.read_json(folder / SUBMITTED) or {}
    return made if made.get("attempt") == attempt else {}


def _matching(listed: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Jobs of exactly this name, the oldest first."""
    found = [job for job in listed if name in (job["metadata"].get("name"), job["metadata"].get("id"))]
    return sorted(found, key=lambda job: (job["metadata"].get("created_at") or 0, job["metadata"]["id"]))


def _oldest(lepton: Lepton, key: str, attempt: int) -> str | None:
    name = lepton_job.job_name(key, attempt)
    found = _matching(lepton.jobs(name), name)
    return str(found[0]["metadata"]["id"]) if found else None


def _created(lepton: Lepton, body: Mapping[str, Any], job: JobPlan, attempt: int) -> str:
    """Its id, or that of the job which another launcher was quicker to make."""
    made = None
    with suppress(NameTaken):
        made = lepton.create_job(body)
    first = _oldest(lepton, job.key, attempt) or made
    if first is None:
        raise Unreachable(f"Lepton says that {body['metadata']['id']} exists, and doesn't list it")
    if made is not None and made != first:
        lepton.delete_job(made)
    return first


def _check_secrets(lepton: Lepton, job: JobPlan) -> None:
    """A container whose secret is missing never starts, and nobody is told."""
    wanted = {secret.source for secret in job.secrets}
    missing = sorted(wanted - lepton.secrets()) if wanted else []
    if missing:
        raise Refused(
            f"the workspace has no secret {' and none '.join(missing)}",
            hint="values of this machine are not sent to Lepton; put it there once: "
            f"`lep secret create -n {missing[0]} -v …`",
        )


def _stage(run: RunPlan, job: JobPlan, folder: Path, attempt: int) -> None:
    """The folder on this machine, as far as it is known before anything has run."""
    files.begin_attempt(folder, job, attempt)
    (folder / files.RESERVE).unlink()
    (folder / COLLECTED).unlink(missing_ok=True)
    files.write_bytes(folder / files.SCRIPT, lepton_job.run_sh(run, job, attempt).encode())
    files.write_bytes(folder / files.RUN_CONFIG, run_config(job))


def _code(run: RunPlan, job: JobPlan) -> tuple[str, ...]:
    if not job.code:
        return ()
    archive = Path(run.directory) / files.CODE / f"{job.code}{packaging.SUFFIX}"
    return lepton_job.pieces(archive.read_bytes())


def _native(lepton: Lepton, handle: JobHandle) -> str | None:
    """Its id in this workspace. Raises NotSent where it is in another one."""
    workspace, _, identity = handle.native_id.rpartition("/")
    lepton.expect(workspace, handle.key)
    return identity or _oldest(lepton, handle.key, handle.attempt)


def _here(handle: JobHandle) -> Path | None:
    """The job's folder as this machine sees it, where it does."""
    root, seen = handle.settings.get("output_dir"), handle.settings.get("output_dir_here")
    if not root or not seen:
        return None
    return Path(seen, PurePosixPath(handle.directory).relative_to(root))


def _unknown(error: EvaldockError, seen: float) -> JobStatus:
    return JobStatus(state=State.UNKNOWN, reason=error.message, seen=seen)


def _answer(lepton: Lepton, handle: JobHandle, listed: Sequence[Mapping[str, Any]], seen: float) -> JobStatus:
    """What can't be said of one job says nothing of the others."""
    try:
        return _status(lepton, handle, listed, seen)
    except EvaldockError as error:
        return _unknown(error, seen)


def _status(lepton: Lepton, handle: JobHandle, listed: Sequence[Mapping[str, Any]], seen: float) -> JobStatus:
    workspace, _, identity = handle.native_id.rpartition("/")
    lepton.expect(workspace, handle.key)
    named = _matching(listed, lepton_job.job_name(handle.key, handle.attempt))
    wanted = [job for job in named if not identity or job["metadata"]["id"] == identity]
    # A list that lacks it may be out of date: only its own address knows.
    job = wanted[0] if wanted else lepton.job(identity) if identity else None
    native = str((job.get("status") or {}).get("state") or "UNK") if job else "gone"
    state = STATES.get(native, State.UNKNOWN) if job else State.LOST
    if not state.terminal:
        reason = "Lepton has no state for it" if state is State.UNKNOWN else None
        return JobStatus(state=state, reason=reason, native=native, seen=seen)
    ended, last = _end(lepton, handle, str(job["metadata"]["id"]) if job else None)
    if ended is not None and ended.attempt == handle.attempt:
        return ended.status(native, seen)
    if state is State.SUCCEEDED:
        return JobStatus(state=state, exit_code=0, native=native, seen=seen)
    if state is State.LOST:
        reason = "Lepton knows it no more, and it left no exit.json"
    else:
        reason = files.STOPPED if state is State.CANCELLED else f"Lepton says {native}{last}"
    return JobStatus(state=state, reason=reason, native=native, seen=seen)


def _end(lepton: Lepton, handle: JobHandle, native: str | None) -> tuple[files.Exit | None, str]:
    """The job's own word about its end, else the last that it printed, or that happened to it."""
    here = _here(handle)
    if here is not None:
        return files.read_exit(here), ""
    received = lepton_logs.receive(lepton, handle, native) if native else None
    if received is None or native is None:
        return None, ""
    last = received.log.decode("utf-8", "replace").strip().splitlines()[-5:]
    with suppress(NotFound, Refused):
        last = last or lepton.job_events(native)[-3:]
    return received.exit, f"; last: {' / '.join(last)}" if last else ""
