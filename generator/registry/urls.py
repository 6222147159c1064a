"""Addresses: where a registry answers, what may follow what, and how much of it may be shown. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urljoin, urlsplit

from catalog.errors import Refused
from catalog.references import DOCKER_HUB

_DEFAULT_PORTS = {"http": 80, "https": 443}


def base_url(registry: str) -> str:
    """https everywhere, except that a registry on this machine's loopback is spoken to in plain http."""
    if registry == DOCKER_HUB:
        return "https://registry-1.docker.io"
    return f"{'http' if is_loopback(urlsplit(f'//{registry}').hostname or '') else 'https'}://{registry}"


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host, port: what must stay the same for credentials to be sent along. Raises Refused."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme, 0)
    except ValueError:
        raise Refused("a server named an address that is none", place=shown(url)) from None


def redirected(current: str, location: str) -> str:
    """Where a redirect from `current` leads. Raises Refused for addresses that must not be followed.

    Plain http is followed only from a loopback server to a loopback server: from anywhere else it would be a
    downgrade, or a foreign server's reach into this machine.
    """
    target = joined(current, location)
    check_address(current, target, "redirects")
    return target


def joined(current: str, location: str) -> str:
    """An address as a server at `current` writes it, made whole. Raises Refused."""
    try:
        return urljoin(current, location)
    except ValueError:
        raise Refused("a server named an address that is none", place=shown(current)) from None


def check_address(current: str, target: str, verb: str) -> None:
    """Raises Refused unless a server at `current` may send us to `target`."""
    scheme, host, _ = origin(target)
    if scheme == "https" and host:
        return
    if scheme == "http" and is_loopback(host) and is_loopback(origin(current)[1]):
        return
    raise Refused(f"{shown(current)} {verb} to {shown(target)}, which is not https", place=origin(current)[1])


def shown(url: str) -> str:
    """For messages and logs: without user, query and fragment, any of which can be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]
