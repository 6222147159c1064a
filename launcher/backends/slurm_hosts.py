"""The head node of a cluster, and what is made of a command's end there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.errors import Refused
from launcher.hosts import Host, Ran, ThisHost

ABSENT = 127  # a shell's exit code where there is no such command


def host_of(settings: Mapping[str, Any]) -> Host:
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


def checked(ran: Ran, host: Host) -> Ran:
    if ran.code == ABSENT and not ran.out:
        raise Refused(f"a command is missing: {last_line(ran)}", place=host.name)
    return ran


def last_line(ran: Ran) -> str:
    lines = [*ran.out.decode("utf-8", "replace").split("\n"), *ran.err.split("\n")]
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {ran.code}")
