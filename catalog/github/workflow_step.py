"""A step of a workflow as it sees itself: its files for outputs and summary, its annotations and commands."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import store
from catalog.errors import EvaldockError, NotFound, refusal
from catalog.github.branches import with_token
from catalog.github.workflow_commands import annotation
from catalog.interrupts import keep_interrupts

SUMMARY_BYTES = 1 << 20
GRACE = 5.0
# Commits that workflows make carry this name, by which GitHub shows them.
_AUTHOR = {"NAME": "github-actions[bot]", "EMAIL": "41898282+github-actions[bot]@users.noreply.github.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    code: int
    out: str
    said: str
    """What it said on standard error, which everybody has seen already."""

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Failed(EvaldockError):
    """A command that this one consists of failed: it ends with the same exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code

    @classmethod
    def unless(cls, done: Done) -> Done:
        if done.code:
            raise cls(problem(done.said), done.code)
        return done


@dataclass(frozen=True, slots=True)
class Workflow:
    """`environ` is what commands get: no token stands in it."""

    environ: Mapping[str, str]

    @property
    def workspace(self) -> Path:
        return Path(self.environ.get("GITHUB_WORKSPACE") or Path.cwd())

    def catalog(self, given: Path | None) -> Path:
        """The folder `given`, else the repository's top or `catalog` in it. Raises NotFound."""
        for place in [given] if given else [self.workspace, self.workspace / "catalog"]:
            if (place / store.MAPPING).is_file():
                return place
        raise NotFound(
            "no catalog here: there is no mapping.toml",
            place=str(given or self.workspace),
            hint="check the repository out first; the input `catalog` names the folder",
        )

    def prepare(self, root: Path) -> None:
        """Reads the images of a catalog that is nothing but its mapping.toml."""
        if (root / store.INDEX).exists():
            return
        with self.group("Read the catalog's images"):
            done = self.evaldock("sync", f"--catalog={root}")
            say(done.out)
        Failed.unless(done)

    def git(self, token: str) -> dict[str, str]:
        """The environment for git alone: who commits, and the token for the server of the workflow."""
        named = {
            f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in _AUTHOR.items()
        }
        server = self.environ.get("GITHUB_SERVER_URL", "")
        made = {**named, **self.environ}
        return with_token(made, server, token) if token and server else made

    def output(self, name: str, value: str) -> None:
        """GitHub's "multiline strings": a delimiter that nobody can foresee."""
        delimiter = f"evaldock-{secrets.token_hex(16)}"
        self._append("GITHUB_OUTPUT", f"{name}<<{delimiter}\n{value}\n{delimiter}\n")

    def summary(self, text: str) -> None:
        """Left out where it would be too long for the step: the runner would drop all of it."""
        path = self.environ.get("GITHUB_STEP_SUMMARY")
        there = Path(path).stat().st_size if path and Path(path).exists() else 0
        if there + len(text.encode()) < SUMMARY_BYTES:
            self._append("GITHUB_STEP_SUMMARY", text + "\n")

    def error(self, message: str, *, title: str = "evaldock") -> None:
        say(annotation("error", message, title=title))

    def failed(self, error: EvaldockError | OSError) -> int:
        """What ended the step, as an annotation; the exit code that it has on the command line."""
        told = refusal(error) if isinstance(error, OSError) else error
        self.error(str(told))
        return told.exit_code

    def warning(self, message: str, *, title: str = "evaldock") -> None:
        say(annotation("warning", message, title=title))

    @contextlib.contextmanager
    def group(self, title: str) -> Iterator[None]:
        """A part of the log that can be folded, in which nothing counts as a command to the runner."""
        token = secrets.token_hex(16)
        say(f"::group::{title}\n::stop-commands::{token}")
        try:
            yield
        finally:
            say(f"::{token}::\n::endgroup::")

    def evaldock(self, *arguments: str) -> Done:
        """A command of evaldock in a process of its own, which what ends this one ends too."""
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out,
            subprocess.Popen(
                # Isolated: what lies in the repository's folder is not imported.
                [sys.executable, "-I", "-m", "catalog.cli", *arguments],
                env=dict(self.environ),
                cwd=self.workspace,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as child,
        ):
            said = []
            try:
                for line in child.stderr or ():
                    said.append(line)
                    say(line.rstrip("\n"))
                child.wait()
            except BaseException:
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(GRACE)
                child.kill()
                raise
            out.seek(0)
            return Done(code=child.returncode, out=out.read(), said="".join(said))

    def _append(self, variable: str, text: str) -> None:
        if path := self.environ.get(variable):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text)


def say(text: str) -> None:
    print(text, flush=True)


def problem(said: str) -> str:
    """The error in what a command said: from the last line that begins as evaldock's errors do."""
    lines = said.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith(("evaldock: ", "Error: "))]
    found = lines[starts[-1] :] if starts else lines[-5:]
    return "\n".join(found).removeprefix("evaldock: ")[:3000]


def switch_signals() -> None:
    """A workflow that is cancelled interrupts its step: the same as Ctrl-C, for both signals it sends."""

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    keep_interrupts()
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
