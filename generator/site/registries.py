"""From an image to the page on which its registry shows it to people."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from urllib.parse import quote

from catalog.errors import UsageError
from catalog.references import DOCKER_HUB, ImageRef, Transport


def registry_page(container: str) -> str | None:
    """None for images that are in no registry, or in one that only its own machine or network can reach."""
    try:
        ref = ImageRef.parse(container)
    except UsageError:
        return None
    if ref.transport is not Transport.REGISTRY or _is_private(ref.registry):
        return None
    page = _PAGES.get(ref.registry, _own_front_door)
    return page(ref)


def _docker_hub(ref: ImageRef) -> str:
    if ref.repository.startswith("library/"):
        return f"https://hub.docker.com/_/{_path(ref.repository.removeprefix('library/'))}"
    return f"https://hub.docker.com/r/{_path(ref.repository)}"


def _nvidia(ref: ImageRef) -> str:
    match ref.repository.split("/"):
        case [org, team, name]:
            return f"https://catalog.ngc.nvidia.com/orgs/{_path(org)}/teams/{_path(team)}/containers/{_path(name)}"
        case [org, name]:
            return f"https://catalog.ngc.nvidia.com/orgs/{_path(org)}/containers/{_path(name)}"
        case _:
            return "https://catalog.ngc.nvidia.com/containers"


def _quay(ref: ImageRef) -> str:
    return f"https://quay.io/repository/{_path(ref.repository)}"


def _own_front_door(ref: ImageRef) -> str:
    # ghcr.io, gcr.io, pkg.dev, GitLab and Harbor all lead from here to the repository's page.
    return f"https://{ref.registry}/{_path(ref.repository)}"


_PAGES: Mapping[str, Callable[[ImageRef], str]] = {
    DOCKER_HUB: _docker_hub,
    "nvcr.io": _nvidia,
    "quay.io": _quay,
}


def _path(text: str) -> str:
    return quote(text, safe="/")


def _is_private(registry: str) -> bool:
    host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal", ".test", ".example"))
    return True
