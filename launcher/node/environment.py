"""Makes the virtual environment of a job's packages on the node that it runs on, once for all jobs there.

This file's text travels in the node script and is run by the node's own Python: the standard library only,
nothing newer than 3.8. Arguments: the folder of environments, the folder of the unpacked code (or nothing),
its digest, then the packages. It leaves the environment's path in the file `environment` of the working
directory and what is installed in `packages.json`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

READY = "installed.txt"
# What some file systems say to flock, such as Lustre that is mounted without it.
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
# Seconds between two signs of life of who builds without a lock, and after how many one without any counts
# as dead. NFS may show a sign a minute late.
BEAT, DEAD = 5.0, 180.0


def main() -> None:
    folder, code, digest, packages = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
    identity = json.dumps([platform.machine(), *sys.version_info[:2], digest, packages])
    target = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with alone(target):
        if not (target / READY).exists():
            shutil.rmtree(target, ignore_errors=True)
            try:
                build(target, code, packages)
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)
                raise
    pairs = (line.partition("==") for line in (target / READY).read_text().splitlines())
    installed = {name: number for name, equals, number in pairs if equals}
    Path("packages.json").write_text(json.dumps(installed, indent=1) + "\n")
    Path("environment").write_text(f"{target}\n")


@contextmanager
def alone(target: Path) -> Iterator[None]:
    with target.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        else:
            yield
            return
    # Building elsewhere and renaming won't do: the scripts in an environment name its path.
    with holding(target.with_suffix(".building")):
        yield


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """By a folder, which only one can make."""
    seen, since = 0, time.monotonic()
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
            break
        with suppress(FileNotFoundError):
            if (now := folder.stat().st_mtime_ns) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > DEAD:
                folder.rmdir()
        time.sleep(BEAT / 5)
    over = threading.Event()
    beating = threading.Thread(target=beat, args=(folder, over), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        with suppress(OSError):
            folder.rmdir()


def beat(folder: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with suppress(OSError):
            os.utime(folder)


def build(target: Path, code: Path, packages: list[str]) -> None:
    python, uv = str(target / "bin" / "python"), shutil.which("uv")
    with tempfile.TemporaryDirectory() as scratch:
        wanted = [word for package in packages for word in arguments(package, code, Path(scratch))]
        if uv:
            try:
                run([uv, "venv", "--quiet", "--python", sys.executable, str(target)])
                run([uv, "pip", "install", "--quiet", "--python", python, *wanted])
                keep(target, run([uv, "pip", "list", "--quiet", "--format", "freeze", "--python", python]))
            except SystemExit:
                # pip knows package indexes (pip.conf, PIP_*) that uv doesn't; its word is the last.
                shutil.rmtree(target, ignore_errors=True)
            else:
                return
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        run([sys.executable, "-m", "venv", str(target)])
        run([*pip, "install", "--quiet", *wanted])
        keep(target, run([*pip, "list", "--format", "freeze"]))


def arguments(package: str, code: Path, scratch: Path) -> list[str]:
    if not (package.startswith((".", "/")) or ("/" in package and "@" not in package)):
        return [package]
    path = code / package
    if path.is_file():
        return ["--requirement", str(path)]
    # Building writes into the folder, which others read at the same moment.
    copied = scratch / hashlib.sha256(package.encode()).hexdigest()[:16]
    shutil.copytree(path, copied)
    return [str(copied)]


def keep(target: Path, listed: str) -> None:
    """Written last: with it the environment is whole."""
    waiting = target / f"{READY}.tmp"
    waiting.write_text(listed)
    waiting.replace(target / READY)


def run(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()[-12:]
        sys.exit("\n".join(["installing the job's packages failed:", *last]))
    return done.stdout.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
