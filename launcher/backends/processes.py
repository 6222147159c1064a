"""Processes of this machine: which is which, who belongs to a job, and how they are ended.

Linux's proc(5). A process belongs to a job by its process group or by the mark in its environment, which also
those inherit that leave the group.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MARK = "EVALDOCK_JOB"


def identity(pid: int) -> dict[str, Any]:
    """A process, told from a later one with the same number: when it started, in which boot of which
    machine."""
    return {"pid": pid, "start": start_time(pid), "boot": _boot_id(), "host": socket.gethostname()}


def start_time(pid: int) -> int | None:
    """Clock ticks after the boot (field 22 of stat); None when there is no such process, or it has ended and
    only waits to be collected."""
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses, which may hold anything.
    return text.rpartition(")")[2].split() or None


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def belonging(mark: str, group: int | None = None) -> list[int]:
    """Running processes whose environment says `mark` (or what begins with it), and those of the group."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        fields = _stat(pid) if pid != os.getpid() else None
        if fields is None or fields[0] == "Z":
            continue
        if (group is not None and int(fields[2]) == group) or _marked(pid, wanted):
            found.append(pid)
    return found


def _marked(pid: int, wanted: bytes) -> bool:
    try:
        return any(part.startswith(wanted) for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return False


def end(mark: str, leader: subprocess.Popen[bytes] | None, *, grace: float) -> None:
    """Ends the leader and everything that belongs with it: the leader is asked and has `grace` seconds; what
    is left then, or stays behind, is asked for a second and killed."""
    if leader is not None:
        _send([leader.pid], signal.SIGTERM)
        try:
            leader.wait(grace)
        except subprocess.TimeoutExpired:
            _send([leader.pid], signal.SIGKILL)
            leader.wait()
    group = leader.pid if leader is not None else None
    deadline, number = time.monotonic() + 1.0, signal.SIGTERM
    asked: set[int] = set()
    while left := belonging(mark, group):
        _send((pid for pid in left if pid not in asked), number)
        asked.update(left)
        if number is signal.SIGTERM and time.monotonic() > deadline:
            number, asked = signal.SIGKILL, set()
        time.sleep(0.02)


def kill(mark: str) -> None:
    """Kills whatever is marked, unasked: a script that was asked would leave another account of its end."""
    while left := belonging(mark):
        _send(left, signal.SIGKILL)
        time.sleep(0.02)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue
