"""Servers that never outlive the test run, not even one that was killed.

`Servers.start` runs the server under a supervisor (this file as a script), which ends it as soon as pytest's
first process is gone. Linux only: a process is watched through its pidfd.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PATIENCE = 20.0  # seconds between asking a server to end and killing it
_PORTS = range(10_000, 20_000)

# Kept until this process ends: a collected Popen that still runs is a ResourceWarning.
_STARTED: list[subprocess.Popen[bytes]] = []


def start(command: Sequence[str], *, folder: Path, owner: int) -> subprocess.Popen[bytes]:
    """The supervisor of a new server. The server's output goes to `folder/log`."""
    supervisor = subprocess.Popen(
        [sys.executable, __file__, str(owner), str(folder / "log"), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    _STARTED.append(supervisor)
    (folder / "supervisor.pid").write_text(str(supervisor.pid))
    return supervisor


def wait_until(
    ready: Callable[[], bool], *, supervisor: subprocess.Popen[bytes], seconds: float
) -> str | None:
    """None once `ready` says so; otherwise what went wrong: the server ended, or the time was up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if supervisor.poll() is not None:
            return f"it ended with status {supervisor.returncode}"
        with contextlib.suppress(OSError):
            if ready():
                return None
        time.sleep(0.1)
    return f"it didn't answer within {seconds:.0f} s"


def stop_all(root: Path) -> None:
    """End every server started under `root` and wait until each is gone; then remove the folder."""
    watched = []
    for file in root.glob("*/supervisor.pid"):
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(int(file.read_text()))
            watched.append(pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    for pidfd in watched:
        select.select([pidfd], [], [], 2 * PATIENCE)
        os.close(pidfd)
    _unmount_below(root)
    shutil.rmtree(root)


def _unmount_below(root: Path) -> None:
    # dockerd leaves the network namespace of `--network=host` mounted.
    places = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((p for p in places if p.is_relative_to(root)), reverse=True):
        subprocess.run(["umount", str(place)], check=True)


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody uses. Linux gives none of these to an outgoing connection by
    itself, which could have it before the server does, or while that one is started again."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found += [port] * (port not in found)
    return found


def tail(log: Path, lines: int = 15) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def _supervise(owner: int, log: Path, command: Sequence[str]) -> int:
    woken, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"x"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("ab") as output:
        # A group of its own, so that a killed server takes its children along.
        child = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        owner_fd = os.pidfd_open(owner)
    except ProcessLookupError:
        owner_fd = woken
        os.write(wake, b"x")
    child_fd = os.pidfd_open(child.pid)
    ready, _, _ = select.select([woken, owner_fd, child_fd], [], [])
    if child_fd not in ready:
        child.terminate()
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


if __name__ == "__main__":
    sys.exit(_supervise(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
