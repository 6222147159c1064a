"""The container engine that DOCKER_HOST names, else the default socket's: its client and its containers.

The only module that imports `docker`, on use. Its errors become this project's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from catalog.errors import NotFound, Refused, Unreachable, UsageError
from launcher.backends.docker_arguments import ATTEMPT, KEY, ROLE
from launcher.backends.protocol import NotSent

TIMEOUT = 120
DEFAULT_SOCKET = "/var/run/docker.sock"
# Key, attempt and role: what a container's labels say of it.
Owner = tuple[str, str, str]
_START = "start Docker or Podman's socket, or say where it is with DOCKER_HOST"


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


def created(client: Any, given: Mapping[str, Any]) -> Any:
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
    pulled(client, image, sent.get("platform"))
    try:
        return client.containers.create(image, detach=True, **sent)
    except docker.errors.APIError as error:
        if error.status_code == 409:
            return client.containers.get(sent["name"])
        raise _refused(error, image) from None


def pulled(client: Any, image: str, platform: str | None) -> Any:
    """The image, from its registry where the engine doesn't have it."""
    import docker.errors  # noqa: PLC0415

    try:
        return client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            return client.images.pull(image, **({"platform": platform} if platform else {}))
        except docker.errors.APIError as error:
            raise _refused(error, image) from None


def started(client: Any, container: Any) -> None:
    """Unless somebody has done so already."""
    import docker.errors  # noqa: PLC0415

    container.reload()
    if container.status != "created":
        return
    try:
        container.start()
    except docker.errors.APIError as error:
        problem = _refused(error, str(container.name))
        server = of_attempt(client, container.labels[KEY], int(container.labels[ATTEMPT])).get("server")
        if server is not None and server.id != container.id and server.attrs["State"] != "running":
            raise Refused(f"the deployment ended before the evaluation{last_lines(server)}") from None
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
def containers(client: Any) -> dict[Owner, Any]:
    """Of all jobs."""
    listed = client.containers.list(all=True, filters={"label": KEY}, sparse=True)
    return {_owner(container): container for container in listed}


def of_attempt(client: Any, key: str, attempt: int) -> dict[str, Any]:
    """By their roles in one attempt of a job."""
    labels = {"label": [f"{KEY}={key}", f"{ATTEMPT}={attempt}"]}
    return {_role(c): c for c in client.containers.list(all=True, filters=labels, sparse=True)}


def _role(container: Any) -> str:
    return str(container.attrs["Labels"].get(ROLE))


def _owner(container: Any) -> Owner:
    labels = container.attrs["Labels"]
    return str(labels[KEY]), str(labels.get(ATTEMPT)), _role(container)


def remove(client: Any, key: str, attempt: int) -> None:
    """All of the attempt's, running or not."""
    found = of_attempt(client, key, attempt)
    for role in sorted(found):
        quietly(found[role].remove, force=True, v=True)


def quietly(call: Any, **given: Any) -> None:
    """For requests that must be repeatable: what is gone already is fine."""
    import docker.errors  # noqa: PLC0415

    try:
        call(**given)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code not in (304, 409):
            raise Unreachable(f"the engine did not do it: {error.explanation or error}") from None


def last_lines(container: Any) -> str:
    last = container.logs(tail=20).decode("utf-8", "replace").strip()
    return f"; its last lines:\n{last}" if last else "; it printed nothing"


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
