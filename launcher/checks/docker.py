"""Whether the container engine answers, sees this machine's folders and runs containers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from catalog.errors import EvaldockError
from launcher.backends import docker_engine
from launcher.checks.answers import Check, Subject, fail, failed, ok, warn

# Engine API 1.41 came with Docker 20.10; Podman answers with its own.
OLDEST = (1, 40)


def checks(subject: Subject) -> Iterator[Check]:
    try:
        with docker_engine.engine() as client:
            yield _version(client)
            yield _gpus(client, subject)
            yield from _network(subject)
            yield from _runs(client)
    except EvaldockError as error:
        yield failed("engine", error)


def _version(client: Any) -> Check:
    found = client.version()
    said = f"{found.get('Version')} (API {found.get('ApiVersion')}) at {_address()}"
    try:
        number = tuple(int(part) for part in str(found.get("ApiVersion")).split("."))
    except ValueError:
        return warn("engine", f"{said}: its version can't be read")
    if number < OLDEST:
        return warn("engine", f"{said} is old", "Docker 20.10 or newer, or Podman 4")
    return ok("engine", said)


def _address() -> str:
    return os.environ.get("DOCKER_HOST") or f"unix://{docker_engine.DEFAULT_SOCKET}"


def _gpus(client: Any, subject: Subject) -> Check:
    wanted = bool(subject.execution.get("gpus")) or any(
        str(flag).startswith("--gpus") for flag in subject.execution.get("docker_args", ())
    )
    info = client.info()
    there = "nvidia" in (info.get("Runtimes") or {}) or bool(info.get("DiscoveredDevices"))
    if there:
        return ok("gpus", "the engine knows NVIDIA's runtime")
    if wanted:
        return fail(
            "gpus",
            "the configuration asks for GPUs, and the engine has no runtime for them",
            "install the NVIDIA Container Toolkit: nvidia-ctk runtime configure, then restart the engine",
        )
    return ok("gpus", "none asked for, and no runtime for them")


def _network(subject: Subject) -> Iterator[Check]:
    local = [url for url in subject.urls if urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")]
    if local and subject.execution.get("network") != "host":
        yield warn(
            "network",
            f"{local[0]} is the container itself for what runs in one",
            "execution.network: host lets containers reach this machine's own addresses",
        )


def _runs(client: Any) -> Iterator[Check]:
    """One container of an image that is there already, with a folder of this machine in it."""
    images = sorted(client.images.list(), key=lambda image: int(image.attrs.get("Size") or 0))
    image = next((image for image in images if image.tags or image.attrs.get("RepoDigests")), None)
    if image is None:
        yield warn("containers", "not tried: the engine has no image yet, and a run pulls its own")
        return
    with tempfile.TemporaryDirectory(prefix="evaldock-doctor-") as place:
        Path(place, "seen").touch()
        code, trouble = docker_engine.try_image(client, image, Path(place))
    if code == 0:
        yield ok("containers", f"{_named(image)} runs, and sees this machine's folders")
    elif code == 9:
        yield fail(
            "containers",
            f"a container does not see this machine's folders ({place})",
            "use an engine on this machine, or share its temporary folder with the engine's machine",
        )
    else:
        yield warn("containers", f"not tried: {_named(image)} can't be used for that, {trouble}")


def _named(image: Any) -> str:
    return str((image.tags or image.attrs.get("RepoDigests") or [image.short_id])[0])
