"""Backend `docker`: a container from an image by digest, through the engine's API (Podman's socket too).

The engine is the one that DOCKER_HOST names, else the default socket; it must see this machine's folders.
Containers carry the job's key and attempt as labels: a launcher that comes back finds them by these.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from catalog.errors import NotFound, Refused, Unreachable, UsageError
from launcher.backends import docker_arguments as arguments
from launcher.backends import docker_engine, docker_states
from launcher.backends.docker_engine import engine
from launcher.code import packaging
from launcher.jobs import RESULTS, JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node.job_script import GRACE, job_script, run_config
from launcher.runs import run_directory as files
from launcher.secrets import named, of_this_machine

SERVER_GRACE = 2  # seconds; a model server has nothing to save
SUBMITTED = "docker.json"
STOPPING = ".stopping"


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    return {
        "backend": "docker",
        "container": arguments.container(run, job, attempt=1),
        "server": arguments.server(run, job, job.deployment, attempt=1) if job.deployment else None,
        "secrets": [secret.name for secret in job.secrets],
        "server_secrets": [secret.name for secret in job.deployment.secrets] if job.deployment else [],
        "scripts": {files.SCRIPT: _script(run, job, attempt=1)},
    }


def submit(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
    folder = Path(run.directory) / job.directory
    with engine() as client, files.submitting(folder):
        native = _ended_before(folder, attempt)
        if native is None:
            found = docker_engine.of_attempt(client, job.key, attempt).get("job")
            try:
                # What was created and never started may lack its secrets: everything is laid out anew.
                if found is None or found.attrs["State"] == "created":
                    _stage(run, job, folder, attempt, secrets)
                    if job.deployment:
                        _serve(client, run, job, attempt, secrets)
                    found = docker_engine.created(client, arguments.container(run, job, attempt))
                    files.write_json(folder / SUBMITTED, {"attempt": attempt, "native_id": found.id})
                docker_engine.started(client, found)
            except BaseException as error:
                if isinstance(error, NotFound | Refused | OSError):
                    docker_engine.remove(client, job.key, attempt)
                files.forget_secrets(folder)
                raise
            native = str(found.id)
    return JobHandle(key=job.key, backend="docker", native_id=native, directory=str(folder), attempt=attempt)


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    seen = time.time()
    try:
        with engine() as client:
            found = docker_engine.containers(client)
            return {h.key: docker_states.judge(h, found, seen) for h in handles}
    except (Unreachable, Refused, NotFound, UsageError) as error:
        return {h.key: JobStatus(state=State.UNKNOWN, reason=error.message, seen=seen) for h in handles}


def logs(handle: JobHandle, since: int) -> LogChunk:
    return LogChunk(*files.read_log(Path(handle.directory) / files.JOB_LOG, since))


def cancel(handle: JobHandle) -> None:
    """Asks the script, which leaves its exit.json; the second time, when it should long have done so, kills
    it."""
    asked = Path(handle.directory) / STOPPING
    with engine() as client:
        container = docker_engine.of_attempt(client, handle.key, handle.attempt).get("job")
        if container is None or container.attrs["State"] == "created":
            # It has not begun, and who was about to start it may be gone: nobody else would clear up.
            docker_engine.remove(client, handle.key, handle.attempt)
            files.forget_secrets(Path(handle.directory))
            return
        late = asked.exists() and time.time() - asked.stat().st_mtime > GRACE + 2
        if not asked.exists():
            with suppress(OSError):
                asked.touch()
        docker_engine.quietly(container.kill, signal="SIGKILL" if late else "SIGTERM")


def collect(handle: JobHandle, destination: Path) -> Path:
    with engine() as client:
        found = docker_engine.of_attempt(client, handle.key, handle.attempt)
        # The evaluation's container goes first: it may still be talking to the server.
        for role, grace in (("job", GRACE + 2), ("server", SERVER_GRACE)):
            if role in found:
                docker_engine.quietly(found[role].stop, timeout=grace)
        if "server" in found:
            # The disk may be what ended the job.
            with suppress(OSError):
                log = found["server"].logs(tail=10_000)
                files.write_bytes(Path(handle.directory) / files.DEPLOYMENT_LOG, log)
        docker_engine.remove(client, handle.key, handle.attempt)
    files.forget_secrets(Path(handle.directory))
    (Path(handle.directory) / STOPPING).unlink(missing_ok=True)
    files.bring(Path(handle.directory), destination)
    return destination


def _script(run: RunPlan, job: JobPlan, attempt: int) -> str:
    return job_script(
        job,
        results=RESULTS,
        attempt=attempt,
        wait_for=job.deployment,
        inputs=run.inputs(job, contained=True),
    )


def _stage(run: RunPlan, job: JobPlan, folder: Path, attempt: int, secrets: Mapping[str, str]) -> None:
    files.begin_attempt(folder, job, attempt)
    if job.code:
        packaging.unpacked(run, job.code)
    (folder / STOPPING).unlink(missing_ok=True)
    files.write_bytes(folder / files.SCRIPT, _script(run, job, attempt).encode())
    files.write_bytes(folder / files.RUN_CONFIG, run_config(job))
    # The script looks for those of this machine by what they are called here, and names one that is missing.
    sources = [secret.source for secret in job.secrets if secret.where == "runtime"]
    of_here = {source: os.environ[source] for source in sources if source in os.environ}
    files.write_secrets(folder, {**named(job.secrets, secrets), **of_here})
    if job.user and os.geteuid() == 0:
        _give_to(folder, job.user)


def _give_to(folder: Path, user: str) -> None:
    """The job's own user must be able to write there; a name is the image's to know."""
    uid, _, gid = user.partition(":")
    if uid.isdigit():
        for path in (folder, *folder.rglob("*")):
            os.lchown(path, int(uid), int(gid) if gid.isdigit() else int(uid))


def _ended_before(folder: Path, attempt: int) -> str | None:
    """The container of an attempt that has ended, was collected and is gone: it must not run again."""
    ended, made = files.read_exit(folder), files.read_json(folder / SUBMITTED) or {}
    if ended is None or ended.attempt != attempt or made.get("attempt") != attempt:
        return None
    return str(made.get("native_id"))


def _serve(client: Any, run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> None:
    assert job.deployment is not None  # noqa: S101 # its caller asked
    given = arguments.server(run, job, job.deployment, attempt)
    server = job.deployment.secrets
    wanted = {**named(server, secrets), **of_this_machine(server, os.environ)}
    if wanted:
        folder = Path(run.directory) / job.directory / files.SERVER
        files.write_secrets(folder, wanted)
        image = docker_engine.pulled(client, given["image"], given.get("platform")).attrs["Config"]
        given = arguments.with_secrets(
            given, folder, list(image.get("Entrypoint") or ()), list(image.get("Cmd") or ())
        )
    docker_engine.started(client, docker_engine.created(client, given))
