"""`apptainer exec docker://…`, for tests: Debian has no apptainer.

It knows the documented options (https://apptainer.org/docs/user/latest/cli/apptainer_exec.html) and refuses
others; those that the launcher has no use for it refuses, too. The command really runs in the image's root:
in a mount and a process namespace of its own, with the host's variables but for PATH, behind a first process
that passes signals on. Images are pulled once into a cache, APPTAINER_CACHEDIR, over plain http.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from services.runtimes.image_root import unpack

_URI = re.compile(r"docker://(?P<name>[^@]+)@sha256:(?P<digest>[0-9a-f]{64})")
_FLAGS = ("--pid", "-p", "--no-home", "--writable-tmpfs", "--nv")
_VALUED = ("--bind", "-B", "--pwd", "--cwd")
# From sched.h and sys/mount.h.
_NEW_MOUNTS, _NEW_PIDS = 0x00020000, 0x20000000
# The size of what --writable-tmpfs makes room for in apptainer's own configuration, in MiB.
_ROOM = 64
_SHOWN = ("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/etc/hosts", "/etc/resolv.conf", "/etc/localtime")


def main(words: Sequence[str]) -> int:
    if words[:1] != ["exec"]:
        sys.exit(f"apptainer stand-in: only exec is here, not {words[:1]}")
    binds, folder, rest = _options(list(words[1:]))
    if len(rest) < 2 or not (match := _URI.fullmatch(rest[0])):
        sys.exit(f"apptainer stand-in: no image by digest and command: {rest}")
    image, variables = _image(Path(os.environ["APPTAINER_CACHEDIR"]), match["digest"], rest[0][9:])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS | _NEW_PIDS):
        sys.exit(f"apptainer stand-in: no namespaces: {os.strerror(ctypes.get_errno())}")
    child = os.fork()
    if child:
        return _wait(child)
    # The namespace's first process: what ends it ends everything in there.
    root = _furnish(image, binds)
    os.chroot(root)
    os.chdir(folder)
    child = os.fork()
    return _wait(child) if child else _become(rest[1:], _environment(variables))


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    found = shutil.which(command[0], path=environment.get("PATH"))
    if not found:
        sys.exit(f'FATAL: "{command[0]}": executable file not found in $PATH')
    os.execve(found, command, environment)


def _options(rest: list[str]) -> tuple[list[str], str, list[str]]:
    given: dict[str, list[str]] = {}
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in _VALUED:
            given.setdefault(option, []).append(value if equals else rest.pop(0))
        elif option in _FLAGS and not equals:
            given[option] = []
        else:
            sys.exit(f"Error for command exec: unknown flag: {option}")
    if "--pid" not in given or "--no-home" not in given or "--writable-tmpfs" not in given:
        sys.exit("apptainer stand-in: it can do no other than --pid --no-home --writable-tmpfs")
    binds = [each for option in ("--bind", "-B") for each in given.get(option, ())]
    return binds, [*given.get("--pwd", ()), *given.get("--cwd", ()), "/"][0], rest


def _image(cache: Path, digest: str, name: str) -> tuple[Path, list[str]]:
    cache.mkdir(parents=True, exist_ok=True)
    root, variables = cache / digest, cache / f"{digest}.json"
    with (cache / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not variables.exists():
            print("INFO:    Converting OCI blobs to SIF format", file=sys.stderr)
            shutil.rmtree(root, ignore_errors=True)
            variables.write_text(json.dumps(unpack(name, root)))
    found: list[str] = json.loads(variables.read_text())
    return root, found


def _furnish(image: Path, binds: Sequence[str]) -> Path:
    """Beside the image, on a file system in memory that only this process and its children see."""
    _mount("--make-rprivate", "/")
    room = image.parent / "session"
    room.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={_ROOM}m", "none", str(room))
    for name in ("upper", "work", "root"):
        (room / name).mkdir()
    root = room / "root"
    layers = f"lowerdir={image},upperdir={room / 'upper'},workdir={room / 'work'}"
    _mount("-t", "overlay", "-o", layers, "none", str(root))
    for shown in _SHOWN:
        if Path(shown).exists():
            _bind(Path(shown), root / shown[1:])
    _mount("-t", "proc", "proc", str(root / "proc"))
    for each in (part for bind in binds for part in bind.split(",")):
        source, _, rest = each.partition(":")
        target, _, flags = (rest or source).partition(":")
        if flags not in ("", "ro", "rw"):
            sys.exit(f"apptainer stand-in: {flags} is no option of a bind path")
        if not Path(source).exists():
            sys.exit(f"FATAL:   mount source {source} doesn't exist")
        _bind(Path(source), root / target.lstrip("/"))
        if flags == "ro":
            _mount("-o", "remount,bind,ro", str(root / target.lstrip("/")))
    return root


def _bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount("--bind", str(source), str(target))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _environment(image: Sequence[str]) -> Mapping[str, str]:
    """The host's variables win over the image's, but for PATH."""
    made = dict(each.partition("=")[::2] for each in image)
    path = made.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    own = {"PATH": path, "LD_LIBRARY_PATH": "/.singularity.d/libs", "APPTAINER_CONTAINER": "stand-in"}
    return {**made, **os.environ, **own}


_PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def _wait(child: int) -> int:
    """The child's exit code; signals go on to it."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _PASSED:
        signal.signal(number, pass_on)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
