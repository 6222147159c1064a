"""An OpenSSH server of the test run's own on loopback: own host key, login by key only."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.install import need
from services.processes import free_port, start, tail, wait_until
from services.required import Unavailable
from services.shared import Shared

_CONF = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxSessions 100
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp internal-sftp
# An empty home: what a login there would start by itself is this machine's, and may take a second.
SetEnv SLURM_CONF={slurm_conf} HOME={folder}/home
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    port: int
    user: str
    key: Path
    host_key: Path

    def commands(self, ports: Collection[int] | None = None) -> int:
        """How many it has been asked to run until now: by anybody, or by who comes from these ports."""
        log = (self.host_key.parent / "log").read_text(errors="replace")
        asked = re.findall(r"Starting session: command for \S+ from \S+ port (\d+)", log)
        return sum(ports is None or int(port) in ports for port in asked)

    @property
    def home(self) -> Path:
        """Of who has logged in."""
        return self.key.with_name("home")

    @property
    def mute_key(self) -> Path:
        """For who logs in with it, no command is run: every answer is empty."""
        return self.key.with_name("mute_key")

    @property
    def public_host_key(self) -> str:
        """Type and key, as a known_hosts file has them behind the host's name."""
        return " ".join(self.host_key.with_suffix(".pub").read_text().split()[:2])

    def introduce(
        self,
        home: Path,
        name: str = "cluster",
        *,
        port: int | None = None,
        key: Path | None = None,
        more: str = "",
    ) -> None:
        """Lets who lives in `home` reach the server as `name`, by a configuration such as a user has; on
        another port, where something stands in between, or with another key. `more` are further lines of
        it."""
        folder, port = home / ".ssh", port or self.port
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "known_hosts").open("a") as file:
            file.write(f"[127.0.0.1]:{port} {self.public_host_key}\n")
        with (folder / "config").open("a") as file:
            file.write(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {self.user}\n"
                f"  IdentityFile {key or self.key}\n{more}"
            )


def start_sshd(shared: Shared, folder: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        raise Unavailable("starting an SSH server needs root")
    sshd = need(shared, "sshd", packages=["openssh-server"])
    # Where the server gives up its rights; Debian makes it when it starts its own.
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key", "mute_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(make, check=True, capture_output=True, timeout=60)
    keys = [(folder / name).read_text() for name in ("user_key.pub", "mute_key.pub")]
    (folder / "authorized_keys").write_text(f'{keys[0]}command="true" {keys[1]}')
    (folder / "home").mkdir()
    port, conf = free_port(), folder / "sshd_config"
    # The cluster's, where there is one: the folder of the service `slurm`.
    cluster = shared.folder / "slurm" / "slurm.conf"
    conf.write_text(_CONF.format(port=port, folder=folder, slurm_conf=cluster))
    supervisor = start([str(sshd), "-D", "-e", "-f", str(conf)], folder=folder, owner=shared.owner)
    failed = wait_until(lambda: _greets(port), supervisor=supervisor, seconds=30)
    if failed:
        raise Unavailable(f"sshd didn't come up: {failed}\n{tail(folder / 'log')}")
    return {
        "port": port,
        "user": getpass.getuser(),
        "key": str(folder / "user_key"),
        "host_key": str(folder / "host_key"),
    }


def _greets(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        return connection.recv(4) == b"SSH-"
