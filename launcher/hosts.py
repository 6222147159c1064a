"""A machine where a cluster's commands are to be had: another one by SSH, or this one.

Both do the same: run a command, run a script with data on its input, put and get files. Whoever uses one
needn't know which it is.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from catalog.errors import Unreachable

TIMEOUT = 120.0
# Linux takes no longer word (MAX_ARG_STRLEN is 128 KiB).
MOST_WORDS = 100_000
# What stands between the noise of a login shell's start and a script's own output.
BEGIN = b"\n--evaldock-output-begins--\n"


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: bytes
    err: str


class Host(Protocol):
    name: str

    def ready(self) -> None:
        """Connects, where that hasn't happened yet. Raises Unreachable, Refused."""

    def run(self, argv: Sequence[str], *, data: bytes = b"", timeout: float = TIMEOUT) -> Ran:
        """A command, each word as it stands. Raises Unreachable, Refused."""

    def script(self, text: str, *, data: bytes = b"", timeout: float = TIMEOUT) -> Ran:
        """POSIX sh text, run in one go with `data` on its standard input. To another machine the text travels
        on the standard input, too, so that no odd login shell ever reads it. It must hold no secrets."""

    def put(self, source: Path, target: str) -> None:
        """A file to the other side, whole or not at all; what a broken transfer left there is gone on with.
        Its folder must be there."""

    def get(self, source: str, target: Path, size: int, sha256: str) -> None:
        """A file from the other side, which has this size and digest; what a broken transfer left is gone on
        with. Raises Refused where something else arrives."""


def framed(text: str) -> tuple[str, bytes]:
    """The command line that reads a script of this length from its input and runs it, and the script."""
    program = f"printf '%s' {shlex.quote(BEGIN.decode())}\n{text}\n".encode()
    return f"sh -c 'eval \"$(head -c {len(program)})\"'", program


def unframed(out: bytes) -> bytes:
    return out.partition(BEGIN)[2]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same(path: Path, size: int, sha256: str) -> bool:
    return path.is_file() and path.stat().st_size == size and sha256_of(path) == sha256


class ThisHost:
    """The launching machine itself, for a launcher that runs on the cluster's head node."""

    name = "this machine"

    def ready(self) -> None:
        return

    def run(self, argv: Sequence[str], *, data: bytes = b"", timeout: float = TIMEOUT) -> Ran:
        try:
            done = subprocess.run(
                argv, input=data, capture_output=True, timeout=timeout, check=False, cwd=os.sep
            )
        except FileNotFoundError:
            return Ran(127, b"", f"{argv[0]}: not found")
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{argv[0]} did not end within {timeout:g} seconds") from None
        except OSError as error:
            # No memory or process is left, for one.
            raise Unreachable(f"{argv[0]} can't be started: {error.strerror or error}") from None
        return Ran(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))

    def script(self, text: str, *, data: bytes = b"", timeout: float = TIMEOUT) -> Ran:
        if len(text.encode()) < MOST_WORDS:
            return self.run(["sh", "-c", text], data=data, timeout=timeout)
        command, program = framed(text)
        ran = self.run(shlex.split(command), data=program + data, timeout=timeout)
        return Ran(ran.code, unframed(ran.out), ran.err)

    def put(self, source: Path, target: str) -> None:
        if not same(Path(target), source.stat().st_size, sha256_of(source)):
            _copy(source, Path(target))

    def get(self, source: str, target: Path, size: int, sha256: str) -> None:
        if not same(target, size, sha256):
            _copy(Path(source), target)


def waiting_for(target: Path, sha256: str) -> Path:
    """Where it arrives, with a name that isn't longer than what a file can have."""
    return target.with_name(f".{sha256[:32]}.part")


def _copy(source: Path, target: Path) -> None:
    waiting = waiting_for(target, hashlib.sha256(target.name.encode("utf-8", "surrogateescape")).hexdigest())
    shutil.copyfile(source, waiting)
    waiting.replace(target)
