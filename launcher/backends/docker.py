"""Backend `docker`: a container from an image by digest, through the engine's API (Podman's socket too).

The engine is the one that DOCKER_HOST names, else the default socket; it must see this machine's folders.
Containers carry the job's key and attempt as labels: a launcher that comes back finds them by these.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from catalog.errors import NotFound, Refused, Unreachable, UsageError
from launcher.backends import docker_arguments as arguments
from launcher.backends.docker_arguments import ATTEMPT, KEY, ROLE
from launcher.backends.protocol import NotSent
from launcher.code import packaging
from launcher.jobs import RESULTS, JobHandle, JobPlan, JobStatus, LogChunk, RunPlan, State
from launcher.node.job_script import GRACE, job_script, run_config
from launcher.runs import run_directory as files

TIMEOUT = 120
SERVER_GRACE = 2  # seconds; a model server has nothing to save
DEFAULT_SOCKET = "/var/run/docker.sock"
_START = "start Docker or Podman's socket, or say where it is with DOCKER_HOST"
SUBMITTED = "docker.json"
STOPPING = ".stopping"


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    return {
        "backend": "docker",
        "container": arguments.container(run, job, attempt=1),
        "server": arguments.server(run, job, job.deployment, attempt=1) if job.deployment else None,
        "secrets": [secret.name for secret in job.secrets],
        "server_secrets": [secret.name for secret in job.deployment.secrets] if job.deployment else [],
        "script": _script(run, job, attempt=1),
    }


def submit(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
    folder = Path(run.directory) / job.directory
    with engine() as client, files.submitting(folder):
        native = _ended_before(folder, attempt)
        if native is None:
            found = _by_role(client, job.key, attempt).get("job")
            try:
                # What was created and never started may lack its secrets: everything is laid out anew.
                if found is None or found.attrs["State"] == "created":
                    _stage(run, job, folder, attempt, secrets)
                    if job.deployment:
                        _serve(client, run, job, attempt, secrets)
                    found = _created(client, arguments.container(run, job, attempt))
                    files.write_json(folder / SUBMITTED, {"attempt": attempt, "native_id": found.id})
                _started(client, found)
            except BaseException as error:
                if isinstance(error, NotFound | Refused | OSError):
                    _remove(client, job.key, attempt)
                _forget_secrets(folder)
                raise
            native = str(found.id)
    return JobHandle(key=job.key, backend="docker", native_id=native, directory=str(folder), attempt=attempt)


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    seen = time.time()
    try:
        with engine() as client:
            listed = client.containers.list(all=True, filters={"label": KEY}, sparse=True)
            found = {(*_owner(container), _role(container)): container for container in listed}
            return {
                h.key: _status(h, found.get(_wanted(h, "job")), found.get(_wanted(h, "server")), seen)
                for h in handles
            }
    except (Unreachable, Refused, NotFound, UsageError) as error:
        return {h.key: JobStatus(state=State.UNKNOWN, reason=error.message, seen=seen) for h in handles}


def logs(handle: JobHandle, since: int) -> LogChunk:
    return LogChunk(*files.read_log(Path(handle.directory) / files.JOB_LOG, since))


def cancel(handle: JobHandle) -> None:
    """Asks the script, which leaves its exit.json; the second time, when it should long have done so, kills
    it."""
    asked = Path(handle.directory) / STOPPING
    with engine() as client:
        container = _by_role(client, handle.key, handle.attempt).get("job")
        if container is None:
            _remove(client, handle.key, handle.attempt)
            return
        late = asked.exists() and time.time() - asked.stat().st_mtime > GRACE + 2
        if not asked.exists():
            with suppress(OSError):
                asked.touch()
        if container.attrs["State"] == "created":
            _quietly(container.remove, force=True, v=True)
        else:
            _quietly(container.kill, signal="SIGKILL" if late else "SIGTERM")


def collect(handle: JobHandle, destination: Path) -> Path:
    with engine() as client:
        found = _by_role(client, handle.key, handle.attempt)
        # The evaluation's container goes first: it may still be talking to the server.
        for role, grace in (("job", GRACE + 2), ("server", SERVER_GRACE)):
            if role in found:
                _quietly(found[role].stop, timeout=grace)
        if "server" in found:
            # The disk may be what ended the job.
            with suppress(OSError):
                log = found["server"].logs(tail=10_000)
                files.write_bytes(Path(handle.directory) / files.DEPLOYMENT_LOG, log)
        _remove(client, handle.key, handle.attempt)
    _forget_secrets(Path(handle.directory))
    (Path(handle.directory) / STOPPING).unlink(missing_ok=True)
    source = Path(handle.directory)
    if source.is_dir() and source.resolve() != destination.resolve():
        shutil.copytree(source, destination, dirs_exist_ok=True, symlinks=True)
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
    files.write_secrets(folder, {s.name: secrets[s.name] for s in job.secrets if s.name in secrets})
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
    wanted = {s.name: secrets[s.name] for s in job.deployment.secrets if s.name in secrets}
    if wanted:
        folder = Path(run.directory) / job.directory / arguments.SERVER_FOLDER
        folder.mkdir(exist_ok=True)
        files.write_secrets(folder, wanted)
        image = _pulled(client, given["image"], given.get("platform")).attrs["Config"]
        given = arguments.with_secrets(
            given, folder, list(image.get("Entrypoint") or ()), list(image.get("Cmd") or ())
        )
    _started(client, _created(client, given))


def _forget_secrets(folder: Path) -> None:
    for each in (folder, folder / arguments.SERVER_FOLDER):
        (each / files.SECRETS).unlink(missing_ok=True)


def _created(client: Any, given: Mapping[str, Any]) -> Any:
    """The container, pulled and created, or the one that another launcher was quicker to make."""
    import docker.errors  # noqa: PLC0415
    from docker.types import DeviceRequest, Ulimit  # noqa: PLC0415
    from docker.types import Mount as Bind  # noqa: PLC0415

    sent = dict(given)
    image = sent.pop("image")
    sent["mounts"] = [
        Bind(
            m["target"],
            m["source"],
            type="bind" if m["source"].startswith("/") else "volume",
            read_only=m["read_only"],
        )
        for m in sent["mounts"]
    ]
    if "device_requests" in sent:
        sent["device_requests"] = [DeviceRequest(**request) for request in sent["device_requests"]]
    if "ulimits" in sent:
        sent["ulimits"] = [Ulimit(**limit) for limit in sent["ulimits"]]
    _pulled(client, image, sent.get("platform"))
    try:
        return client.containers.create(image, detach=True, **sent)
    except docker.errors.APIError as error:
        if error.status_code == 409:
            return client.containers.get(sent["name"])
        raise _refused(error, image) from None


def _pulled(client: Any, image: str, platform: str | None) -> Any:
    import docker.errors  # noqa: PLC0415

    try:
        return client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            return client.images.pull(image, **({"platform": platform} if platform else {}))
        except docker.errors.APIError as error:
            raise _refused(error, image) from None


def _started(client: Any, container: Any) -> None:
    import docker.errors  # noqa: PLC0415

    container.reload()
    if container.status != "created":
        return
    try:
        container.start()
    except docker.errors.APIError as error:
        problem = _refused(error, str(container.name))
        server = _by_role(client, container.labels[KEY], int(container.labels[ATTEMPT])).get("server")
        if server is not None and server.id != container.id and server.attrs["State"] != "running":
            raise Refused(f"the deployment ended before the evaluation{_tail(server)}") from None
        raise problem from None


def _refused(error: Any, what: str) -> NotFound | Refused | Unreachable:
    detail = str(error.explanation or error)
    if error.status_code == 404 or "manifest unknown" in detail or "not found" in detail:
        return NotFound(
            f"the engine can't get {what}: {detail}", hint="is it pushed, and may this machine read it?"
        )
    if error.status_code == 500 and ("connection refused" in detail or "i/o timeout" in detail):
        return Unreachable(f"the engine can't reach where {what} lies: {detail}")
    return Refused(f"the engine refused {what}: {detail}")


# What is listed sparsely has `Labels` and `State` at the top of its attributes.
def _by_role(client: Any, key: str, attempt: int) -> dict[str, Any]:
    labels = {"label": [f"{KEY}={key}", f"{ATTEMPT}={attempt}"]}
    return {_role(c): c for c in client.containers.list(all=True, filters=labels, sparse=True)}


def _role(container: Any) -> str:
    return str(container.attrs["Labels"].get(ROLE))


def _owner(container: Any) -> tuple[str, str]:
    labels = container.attrs["Labels"]
    return str(labels[KEY]), str(labels.get(ATTEMPT))


def _wanted(handle: JobHandle, role: str) -> tuple[str, str, str]:
    return handle.key, str(handle.attempt), role


def _remove(client: Any, key: str, attempt: int) -> None:
    found = _by_role(client, key, attempt)
    for role in sorted(found):
        _quietly(found[role].remove, force=True, v=True)


def _status(handle: JobHandle, container: Any | None, server: Any | None, seen: float) -> JobStatus:
    ended = files.read_exit(Path(handle.directory))
    native = str(container.attrs["State"]) if container is not None else "gone"
    if native in ("running", "paused", "restarting", "removing"):
        if server is not None and server.attrs["State"] in ("exited", "dead") and ended is None:
            reason = f"the deployment ended before the evaluation{_tail(server)}"
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
        return _ended(said.exit_code, said.reason, native, seen)
    if container is None:
        return JobStatus(state=State.LOST, reason="its container is gone", native=native, seen=seen)
    container.reload()
    state = container.attrs["State"]
    if state.get("OOMKilled"):
        return _ended(137, "out of memory", native, seen)
    if said is not None:
        return _ended(said.exit_code, said.reason, native, seen)
    code = int(state["ExitCode"]) or 70
    return _ended(code, state.get("Error") or _unsaid(code), native, seen)


def _unsaid(code: int) -> str:
    """The end of a job whose script could not say how it ended."""
    if code > 128:
        return f"killed by signal {code - 128}, without an exit.json"
    return "its script left no exit.json"


def _ended(code: int, reason: str | None, native: str, seen: float) -> JobStatus:
    if code == 0:
        state = State.SUCCEEDED
    elif reason == "stopped on request":
        state = State.CANCELLED
    else:
        state = State.FAILED
    return JobStatus(state=state, reason=reason, exit_code=code, native=native, seen=seen)


def _tail(container: Any) -> str:
    last = container.logs(tail=20).decode("utf-8", "replace").strip()
    return f"; its last lines:\n{last}" if last else "; it printed nothing"


def _quietly(call: Any, **given: Any) -> None:
    """For requests that must be repeatable: what is gone already is fine."""
    import docker.errors  # noqa: PLC0415

    try:
        call(**given)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code not in (304, 409):
            raise Unreachable(f"the engine did not do it: {error.explanation or error}") from None


def try_image(client: Any, image: Any, folder: Path) -> tuple[int, str]:
    """Exit code and trouble of a container that looks for the file `seen` in a folder of this machine: 9
    where it isn't there, -1 where the container can't run."""
    import docker.errors  # noqa: PLC0415

    try:
        client.containers.run(
            image.id,
            entrypoint="/bin/sh",
            command=["-c", "test -e /probe/seen || exit 9"],
            volumes={str(folder): {"bind": "/probe", "mode": "ro"}},
            network_mode="none",
            remove=True,
        )
    except docker.errors.ContainerError as error:
        return int(error.exit_status), f"it ended with {error.exit_status}"
    except docker.errors.APIError as error:
        return -1, str(error.explanation or error)
    return 0, ""


@contextmanager
def engine() -> Iterator[Any]:
    """The engine's client. Raises Unreachable, naming the address, where nothing answers, and for an answer
    that makes no sense."""
    try:
        import docker.errors  # noqa: PLC0415
        import requests  # noqa: PLC0415
    except ImportError:
        raise UsageError("the docker backend needs an extra", hint="pip install 'evaldock[docker]'") from None
    host = os.environ.get("DOCKER_HOST", "")
    try:
        _knock(host)
        yield _client(host)
    except docker.errors.APIError as error:
        raise Unreachable(f"the container engine answered {error.explanation or error}") from None
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise Unreachable(
            f"no container engine answers{f' at {host}' if host else ''}: {error}",
            hint=_START,
        ) from None


def _knock(host: str) -> None:
    """Raises NotSent where nobody listens: the SDK would say less, and leave a socket open."""
    if host and not host.startswith("unix://"):
        return
    path = host.removeprefix("unix://") or DEFAULT_SOCKET
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            raise NotSent(
                f"no container engine answers at {host or path}: {error.strerror or error}", hint=_START
            ) from None


@cache
def _client(host: str) -> Any:  # noqa: ARG001 # the cache's key
    """One per engine: `host` is what DOCKER_HOST says at the moment."""
    import docker  # noqa: PLC0415

    return docker.from_env(timeout=TIMEOUT)
