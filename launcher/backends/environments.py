"""Virtual environments of harnesses for running without containers, made once and kept.

An environment's name is the sha256 of what goes into it. It is whole once its list of what is
installed stands, which is written last. Installed by uv where it is to be had, else by venv and pip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from catalog.cachedir import cache_dir
from catalog.errors import EvaldockError
from catalog.identity import canonical_sha256, is_local, pinned_packages
from launcher.runs.locking import locked

READY = "installed.txt"


class InstallFailed(EvaldockError):
    """A harness's packages could not be installed; the message ends with the installer's own last lines."""


def environment_for(packages: Sequence[str], root: Path) -> Path:
    """Where the environment for `packages` (paths relative to `root`) lies or will lie."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    identity = canonical_sha256({"python": version, "packages": pinned_packages(root, packages)})
    return cache_dir("environments", identity[:32])


def ensure(packages: Sequence[str], root: Path, say: Callable[[str], None] = print) -> Path:
    """The environment, built if it isn't there yet. Two processes that ask at once build it once.

    Raises InstallFailed.
    """
    target = environment_for(packages, root)
    with locked(target.with_suffix(".lock")):
        if (target / READY).is_file():
            return target
        say(f"installing {', '.join(packages) or 'an empty environment'}")
        if target.exists():
            shutil.rmtree(target)
        try:
            _build(target, [argument for p in packages for argument in _arguments(p, root)])
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    return target


def installed(environment: Path) -> dict[str, str]:
    """Name and version of every package in it: the locked set that a result was made with."""
    try:
        lines = (environment / READY).read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("==") for line in lines)
    return {name.strip(): version.strip() for name, equals, version in pairs if equals}


def _arguments(package: str, root: Path) -> list[str]:
    if not is_local(package):
        return [package]
    path = root / package
    # With hashes in it, both installers check them unasked.
    return ["--requirement", str(path)] if path.is_file() else [str(path)]


def _build(target: Path, requirements: list[str]) -> None:
    # Scripts in an environment name its path, so it is built in its place and counts once READY stands.
    uv = _uv()
    if uv is None:
        frozen = _with_pip(target, requirements)
    else:
        try:
            frozen = _with_uv(uv, target, requirements)
        except InstallFailed:
            # pip knows package indexes (pip.conf, PIP_*) that uv doesn't; its word is the last.
            shutil.rmtree(target, ignore_errors=True)
            frozen = _with_pip(target, requirements)
    waiting = target / f"{READY}.tmp"
    waiting.write_text(frozen)
    waiting.replace(target / READY)


def _with_uv(uv: str, target: Path, requirements: list[str]) -> str:
    python = str(target / "bin" / "python")
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(target)])
    # Folders are copied, not linked: the environment must not change with them.
    if requirements:
        _run([uv, "pip", "install", "--quiet", "--python", python, *requirements])
    return _run([uv, "pip", "list", "--quiet", "--format", "freeze", "--python", python])


def _with_pip(target: Path, requirements: list[str]) -> str:
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run([sys.executable, "-m", "venv", str(target)])
    if requirements:
        _run([*pip, "install", "--quiet", *requirements])
    return _run([*pip, "list", "--format", "freeze"])


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise InstallFailed(f"installing the harness's packages failed:\n{last}", place=command[-1])
    return done.stdout
