"""A Docker Engine of the test run's own, apart from any engine that runs already.

It has no bridge and touches no firewall rule: containers run with `--network=host` or `none`. Without root
the engine that is already there is used, if it answers.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.install import need
from services.processes import start, tail, wait_until
from services.required import Unavailable
from services.shared import Shared

BUSYBOX = "evaldock-test/busybox:1"


@dataclass(frozen=True, slots=True)
class Engine:
    """`host` is what DOCKER_HOST takes, `engine.run("pull", "…")` gives what the docker command printed."""

    host: str
    program: Path

    def run(self, *arguments: str, stdin: bytes | None = None, timeout: float = 240) -> str:
        # The builder of the engine itself: BuildKit would need a plug-in of the client.
        environment = {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            [str(self.program), *arguments],
            env=environment,
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}\n{done.stderr.decode(errors='replace')}")
        return done.stdout.decode()


def start_engine(shared: Shared, folder: Path) -> dict[str, Any]:
    """`{"host": "unix://…", "program": "/usr/bin/docker"}`."""
    program = need(shared, "docker", packages=["docker.io"])
    if os.geteuid() != 0:
        return _engine_that_runs(program)
    dockerd = need(shared, "dockerd", packages=["docker.io"])
    trouble = ""
    for driver in ("overlay2", "vfs"):  # overlay2 can't stand on another overlay file system
        engine = folder / driver
        engine.mkdir(exist_ok=True)
        sock = engine / "docker.sock"
        supervisor = start(_command(dockerd, engine, sock, driver), folder=folder, owner=shared.owner)
        failed = wait_until(lambda sock=sock: _answers(sock), supervisor=supervisor, seconds=60)  # type: ignore[misc]
        if failed is None:
            return {"host": f"unix://{sock}", "program": str(program)}
        trouble = f"{failed}\n{tail(folder / 'log')}"
        supervisor.terminate()
        supervisor.wait()
    raise Unavailable(f"dockerd didn't come up: {trouble}")


def import_busybox(shared: Shared, engine: Engine, folder: Path) -> dict[str, Any]:
    """A base image of 2 MB with a shell, since no public image can be taken for granted."""
    busybox = need(shared, "busybox", packages=["busybox-static"])
    archive = folder / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        for applet in ("busybox", "sh", "cat", "cp", "ls", "mkdir", "mv", "rm", "ln", "chmod", "sleep"):
            member = tar.gettarinfo(str(busybox), arcname=f"bin/{applet}")
            if applet == "busybox":
                with busybox.open("rb") as file:
                    tar.addfile(member, file)
                continue
            member.type, member.linkname, member.size = tarfile.SYMTYPE, "busybox", 0
            tar.addfile(member)
    engine.run("import", "--change", "ENV PATH=/bin", str(archive), BUSYBOX)
    return {"image": BUSYBOX}


def _command(dockerd: Path, folder: Path, sock: Path, driver: str) -> list[str]:
    return [
        str(dockerd),
        f"--host=unix://{sock}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
        f"--storage-driver={driver}",
        # Where a system-wide containerd runs, both engines share it: never its names.
        f"--containerd-namespace=evaldock-test-{os.getpid()}",
        f"--containerd-plugins-namespace=evaldock-test-plugins-{os.getpid()}",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]


def _engine_that_runs(program: Path) -> dict[str, Any]:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    engine = Engine(host, program)
    try:
        engine.run("version")
    except RuntimeError as error:
        raise Unavailable(f"starting a Docker Engine needs root, and none answers at {host}") from error
    return {"host": host, "program": str(program)}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _answers(sock: Path) -> bool:
    connection = _UnixConnection(sock)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    finally:
        connection.close()
