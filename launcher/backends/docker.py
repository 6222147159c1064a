"""Backend `docker`: a container from an image by digest, through the engine's API (Podman's socket too).

The engine is the one that DOCKER_HOST names, else the default socket; it must see this machine's folders.
Containers carry the job's key and attempt as labels: a launcher that comes back finds them by these.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from catalog.errors import NotFound, Refused, Unreachable
from launcher import run_directory as files
from launcher.jobs import (
    Deployment,
    JobHandle,
    JobPlan,
    JobStatus,
    LogChunk,
    Mount,
    Resources,
    RunPlan,
    State,
)
from launcher.script import job_script, run_config

KEY, ATTEMPT, ROLE = "evaldock.key", "evaldock.attempt", "evaldock.role"
GRACE = 10
TIMEOUT = 120
JOB_FOLDER, RESULTS = "/job", "/results"
# Settings of `docker_args` that the engine's API takes under the same name.
# fmt: off
PASSED = (
    "cap_add", "cap_drop", "cpuset_cpus", "devices", "dns", "extra_hosts", "group_add", "hostname", "init",
    "ipc_mode", "pid_mode", "pids_limit", "platform", "privileged", "read_only", "runtime", "security_opt",
    "working_dir",
)
# fmt: on


def plan(run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
    return {
        "backend": "docker",
        "container": _container(run, job, attempt=1),
        "server": _server(run, job, job.deployment, attempt=1) if job.deployment else None,
        "secrets": [secret.name for secret in job.secrets],
        "script": _script(job, attempt=1),
    }


def submit(run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
    folder = Path(run.directory) / job.directory
    with _engine() as client:
        found = _find(client, job.key, attempt)
        if found is None:
            files.begin_attempt(folder, attempt)
            files.write_bytes(folder / files.SCRIPT, _script(job, attempt).encode())
            files.write_bytes(folder / files.RUN_CONFIG, run_config(job))
            files.write_secrets(folder, secrets)
            if job.deployment:
                server = _server(run, job, job.deployment, attempt)
                server["environment"] |= {
                    s.name: secrets[s.name] for s in job.deployment.secrets if s.name in secrets
                }
                _started(_created(client, server))
            found = _created(client, _container(run, job, attempt))
        _started(found)
    return JobHandle(
        key=job.key, backend="docker", native_id=found.id, directory=str(folder), attempt=attempt
    )


def status(handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
    seen = time.time()
    try:
        with _engine() as client:
            listed = client.containers.list(all=True, filters={"label": KEY}, ignore_removed=True)
            by_id = {container.id: container for container in listed}
    except Unreachable as error:
        return {h.key: JobStatus(state=State.UNKNOWN, reason=error.message, seen=seen) for h in handles}
    return {h.key: _status(h, by_id.get(h.native_id), seen, _dead_server(h, listed)) for h in handles}


def logs(handle: JobHandle, since: int) -> LogChunk:
    return LogChunk(*files.read_log(Path(handle.directory) / files.JOB_LOG, since))


def cancel(handle: JobHandle) -> None:
    with _engine() as client:
        for container in _containers(client, handle.key, handle.attempt):
            _quietly(container.stop, timeout=GRACE)


def collect(handle: JobHandle, destination: Path) -> Path:
    source = Path(handle.directory)
    if source.resolve() != destination.resolve():
        shutil.copytree(source, destination, dirs_exist_ok=True, symlinks=True)
    with _engine() as client:
        for container in _containers(client, handle.key, handle.attempt):
            if container.labels.get(ROLE) == "server":
                files.write_bytes(destination / files.DEPLOYMENT_LOG, container.logs(tail=10_000))
            _quietly(container.remove, force=True, v=True)
    return destination


def _script(job: JobPlan, attempt: int) -> str:
    return job_script(job, results=RESULTS, attempt=attempt, wait_for=job.deployment)


def _container(run: RunPlan, job: JobPlan, attempt: int) -> dict[str, Any]:
    """Arguments of the engine's "create container" call for the evaluation."""
    folder = Path(run.directory) / job.directory
    mounts = (
        Mount(source=str(folder), target=JOB_FOLDER),
        Mount(source=str(folder / files.ARTIFACTS), target=RESULTS),
        *job.mounts,
    )
    common = _common(run, job, attempt, "job", job.resources)
    network = job.network
    if job.deployment:
        network = f"container:{common['name']}-server"
    return {
        **common,
        "image": job.image,
        "entrypoint": ["/bin/sh"],
        "command": [f"{JOB_FOLDER}/{files.SCRIPT}"],
        "environment": {},
        "mounts": [dataclasses.asdict(mount) for mount in mounts],
        **({"network_mode": network} if network else {}),
        **({"user": job.user} if job.user else {}),
        **_passed(run.settings),
    }


def _server(run: RunPlan, job: JobPlan, deployment: Deployment, attempt: int) -> dict[str, Any]:
    common = _common(run, job, attempt, "server", deployment.resources)
    return {
        **common,
        "name": f"{common['name']}-server",
        "image": deployment.image or job.image,
        "command": [word.replace("{port}", str(deployment.port)) for word in deployment.command],
        "environment": dict(deployment.env),
        "mounts": [dataclasses.asdict(mount) for mount in deployment.mounts],
        **({"network_mode": job.network} if job.network else {}),
        **_passed(run.settings),
    }


def _common(run: RunPlan, job: JobPlan, attempt: int, role: str, resources: Resources) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": f"evaldock-{job.key}-{attempt}",
        "labels": {KEY: job.key, ATTEMPT: str(attempt), ROLE: role, "evaldock.run": run.run_id},
        "detach": True,
    }
    if resources.memory:
        made["mem_limit"] = resources.memory
    if resources.shm:
        made["shm_size"] = resources.shm
    if resources.cpus:
        made["nano_cpus"] = int(resources.cpus * 1e9)
    if resources.gpus is not None or resources.gpu_ids:
        wanted = {"device_ids": list(resources.gpu_ids)} if resources.gpu_ids else {"count": resources.gpus}
        made["device_requests"] = [{**wanted, "capabilities": [["gpu"]]}]
    return made


def _passed(settings: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: settings[name] for name in PASSED if name in settings}
    if "memory_swap" in settings:
        made["memswap_limit"] = settings["memory_swap"]
    if "tmpfs" in settings:
        pairs = (entry.partition(":") for entry in settings["tmpfs"])
        made["tmpfs"] = {path: options for path, _, options in pairs}
    if "ulimits" in settings:
        made["ulimits"] = list(settings["ulimits"])
    return made


def _created(client: Any, arguments: dict[str, Any]) -> Any:
    """The container, pulled and created, or the one that another launcher was quicker to make."""
    import docker.errors  # noqa: PLC0415
    from docker.types import DeviceRequest, Ulimit  # noqa: PLC0415
    from docker.types import Mount as Bind  # noqa: PLC0415

    given = dict(arguments)
    image = given.pop("image")
    given["mounts"] = [
        Bind(
            m["target"],
            m["source"],
            type="bind" if m["source"].startswith("/") else "volume",
            read_only=m["read_only"],
        )
        for m in given["mounts"]
    ]
    if "device_requests" in given:
        given["device_requests"] = [DeviceRequest(**request) for request in given["device_requests"]]
    if "ulimits" in given:
        given["ulimits"] = [Ulimit(**limit) for limit in given["ulimits"]]
    try:
        _pull(client, image)
        return client.containers.create(image, **given)
    except docker.errors.APIError as error:
        if error.status_code == 409:
            return client.containers.get(given["name"])
        raise _refused(error, image) from None


def _pull(client: Any, image: str) -> None:
    import docker.errors  # noqa: PLC0415

    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(image)
        except docker.errors.APIError as error:
            raise _refused(error, image) from None


def _started(container: Any) -> None:
    import docker.errors  # noqa: PLC0415

    container.reload()
    if container.status != "created":
        return
    try:
        container.start()
    except docker.errors.APIError as error:
        message = _refused(error, str(container.name))
        _quietly(container.remove, force=True)
        raise message from None


def _refused(error: Any, what: str) -> NotFound | Refused:
    detail = str(error.explanation or error)
    if error.status_code == 404 or "manifest unknown" in detail or "not found" in detail:
        return NotFound(
            f"the engine can't get {what}: {detail}", hint="is it pushed, and may this machine read it?"
        )
    return Refused(f"the engine refused {what}: {detail}")


def _find(client: Any, key: str, attempt: int) -> Any | None:
    found = [c for c in _containers(client, key, attempt) if c.labels.get(ROLE) == "job"]
    return found[0] if found else None


def _containers(client: Any, key: str, attempt: int) -> list[Any]:
    # The evaluation's first: it goes before the server that it talks to.
    labels = {"label": [f"{KEY}={key}", f"{ATTEMPT}={attempt}"]}
    found = client.containers.list(all=True, filters=labels, ignore_removed=True)
    return sorted(found, key=lambda container: str(container.labels.get(ROLE)))


def _dead_server(handle: JobHandle, listed: Sequence[Any]) -> Any | None:
    for container in listed:
        labels = container.labels
        mine = labels.get(KEY) == handle.key and labels.get(ATTEMPT) == str(handle.attempt)
        if mine and labels.get(ROLE) == "server" and container.status in ("exited", "dead"):
            return container
    return None


def _status(handle: JobHandle, container: Any | None, seen: float, dead_server: Any | None) -> JobStatus:
    ended = files.read_exit(Path(handle.directory))
    native = container.status if container is not None else "gone"
    if native in ("running", "paused", "restarting"):
        if dead_server is not None:
            last = dead_server.logs(tail=20).decode("utf-8", "replace")
            _quietly(container.stop, timeout=GRACE)  # type: ignore[union-attr] # "gone" is not among these
            reason = f"the deployment ended before the evaluation; its last lines:\n{last}"
            return JobStatus(state=State.FAILED, reason=reason, native="server exited", seen=seen)
        return JobStatus(state=State.RUNNING, native=native, seen=seen)
    if native == "created":
        return JobStatus(state=State.QUEUED, native=native, seen=seen)
    if ended is not None and ended.attempt == handle.attempt:
        return _ended(ended.exit_code, ended.reason, native, seen)
    if container is None:
        return JobStatus(state=State.LOST, reason="its container is gone", native=native, seen=seen)
    state = container.attrs.get("State") or {}
    if not isinstance(state, dict) or "ExitCode" not in state:
        container.reload()
        state = container.attrs["State"]
    reason = (
        "out of memory" if state.get("OOMKilled") else state.get("Error") or "its script left no exit.json"
    )
    code = int(state["ExitCode"])
    return _ended(code if code else 70, reason, native, seen)


def _ended(code: int, reason: str | None, native: str, seen: float) -> JobStatus:
    if code == 0:
        state = State.SUCCEEDED
    elif reason == "stopped on request":
        state = State.CANCELLED
    else:
        state = State.FAILED
    return JobStatus(state=state, reason=reason, exit_code=code, native=native, seen=seen)


def _quietly(call: Any, **arguments: Any) -> None:
    """For requests that must be repeatable: what is gone already is fine."""
    import docker.errors  # noqa: PLC0415

    try:
        call(**arguments)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code not in (304, 409):
            raise Unreachable(f"the engine did not do it: {error.explanation or error}") from None


@contextmanager
def _engine() -> Iterator[Any]:
    """The engine's client. Raises Unreachable, naming the address, where nothing answers."""
    import docker.errors  # noqa: PLC0415
    import requests  # noqa: PLC0415

    try:
        yield _client()
    except (docker.errors.DockerException, requests.RequestException) as error:
        if isinstance(error, docker.errors.APIError):
            raise
        _client.cache_clear()
        raise Unreachable(
            f"no container engine answers: {error}",
            hint="start Docker or Podman's socket, or say where it is with DOCKER_HOST",
        ) from None


@cache
def _client() -> Any:
    import docker  # noqa: PLC0415

    return docker.from_env(timeout=TIMEOUT)
