"""Debian packages, installed when something is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.required import Unavailable
from services.shared import Shared

_POLICY = Path("/usr/sbin/policy-rc.d")
_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def program(name: str) -> Path | None:
    """Where `name` is; also where Debian keeps programs for root."""
    found = shutil.which(name, path=_SEARCHED)
    return Path(found) if found else None


def need(shared: Shared, name: str, *, packages: Sequence[str]) -> Path:
    """The program `name`, after installing `packages` if it is missing. Raises Unavailable."""
    with shared.lock("apt"):
        if found := program(name):
            return found
        _install(shared, packages, wanted=name)
    found = program(name)
    if not found:
        raise Unavailable(f"{name} is still missing after installing {' '.join(packages)}")
    return found


def need_file(shared: Shared, path: Path, *, packages: Sequence[str]) -> Path:
    """The file, after installing `packages` if it is missing. Raises Unavailable."""
    with shared.lock("apt"):
        if not path.exists():
            _install(shared, packages, wanted=str(path))
    if not path.exists():
        raise Unavailable(f"{path} is still missing after installing {' '.join(packages)}")
    return path


def _install(shared: Shared, packages: Sequence[str], *, wanted: str) -> None:
    by_hand = f"apt-get install {' '.join(packages)}"
    apt = program("apt-get")
    if not apt:
        raise Unavailable(f"{wanted} isn't installed, and this isn't a Debian machine")
    if os.geteuid() != 0:
        raise Unavailable(f"{wanted} isn't installed, and installing it needs root: {by_hand}")
    updated = shared.folder / "apt-updated"
    if not updated.exists():
        _apt(apt, "update")
        updated.touch()
    with _no_service_starts():
        _apt(apt, "install", "--yes", "--no-install-recommends", *packages)


def _apt(apt: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(apt), "-q", "-o", "DPkg::Lock::Timeout=300", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"apt-get {' '.join(arguments)} failed: {(done.stderr or done.stdout)[-600:]}")


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian starts a server as soon as it is installed; a test run starts its own instead (policy-rc.d
    answering 101 is Debian's way to say so)."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
