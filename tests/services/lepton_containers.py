"""Containers of the Lepton stand-in: a command as processes of this machine, with volumes as folders.

What a container does is really done, by the image's stand-in: this machine. Its processes are known by the
variable that Lepton gives them, and none outlives the first one.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

GRACE = 15.0
_REFERENCE = re.compile(r"\$\$|\$\(([^()$]*)\)")


def expanded(word: str, environ: Mapping[str, str]) -> str:
    """What Kubernetes makes of a word of a command: `$(NAME)` of a known variable, and `$` of `$$`."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return environ.get(match[1], match[0])

    return _REFERENCE.sub(replace, word)


class Container:
    """Starts at once. `ended` is called with the exit code when the last of its processes is gone."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        mounts: Mapping[str, Path],
    ) -> None:
        folder.mkdir(parents=True)
        for inside, volume in mounts.items():
            volume.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                Path(inside).symlink_to(volume)
        self.mark = f"LEPTON_REPLICA={name}"
        self.log = folder / "log"
        whole = {
            "HOME": str(folder),
            "LEPTON_REPLICA": name,
            **environ,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [expanded(word, whole) for word in command],
                env=whole,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.code: int | None = None
        self.gone = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def stop(self) -> None:
        """SIGTERM for the first process, SIGKILL for all when the grace is over."""
        self.process.terminate()
        threading.Timer(GRACE, self.kill).start() if not self.gone.is_set() else None

    def kill(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes().split(
                    b"\0"
                ):
                    found.append(int(entry.name))
        return found

    def _wait(self) -> None:
        self.code = self.process.wait()
        while self.processes():
            self.kill()
            self.gone.wait(0.02)
        self.gone.set()
