"""Inputs of an action as a workflow gives them: variables EVALDOCK_INPUT_…, all read before anything happens.

What is wrong is collected, so that `done` tells all of it at once. No input has control characters, but for
the ends of lines where several are expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from catalog.errors import InvalidInput, UsageError

PREFIX = "EVALDOCK_INPUT_"
Value = TypeVar("Value")


class Inputs:
    """`folder` is the repository's, which paths are relative to."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.environ, self.folder = environ, folder
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        value = self._given(name).strip()
        if not value.isprintable():
            self.problems.append(f"{name}: one line is expected, without control characters")
        return value

    def lines(self, name: str) -> tuple[str, ...]:
        found = tuple(line.strip() for line in self._given(name).splitlines() if line.strip())
        if not all(line.isprintable() for line in found):
            self.problems.append(f"{name}: control characters are not expected")
        return found

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word for line in self.lines(name) for word in re.split(r"[\s,]+", line) if word)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.text(name).lower()
        if value not in ("", "true", "false"):
            self.problems.append(f"{name}: expected true or false, got {value!r:.80}")
        return value == "true" if value else default

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        value = self.text(name) or known[0]
        if value not in known:
            self.problems.append(f"{name}: expected {', '.join(known)}, got {value!r:.80}")
        return value

    def path(self, name: str) -> Path | None:
        value = self.text(name)
        return self.folder / value if value else None

    def parsed(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        value = self.text(name)
        try:
            return parse(value) if value else None
        except UsageError as error:
            self.problems.append(f"{name}: {error.message}; {error.hint}")
            return None

    def branch(self, name: str, default: str) -> str:
        """By the rules of git-check-ref-format that keep a name from being anything else."""
        value = self.text(name) or default
        wrong = not value or value.startswith(("-", "/")) or value.endswith(("/", ".lock", "."))
        if wrong or ".." in value or "@{" in value or re.search(r"[\s~^:?*\[\\]|//", value):
            self.problems.append(f"{name}: not the name of a branch: {value!r:.80}")
        return value

    def done(self) -> None:
        if self.problems:
            raise InvalidInput("the action's inputs can't be what was meant:", self.problems)

    def _given(self, name: str) -> str:
        return self.environ.get(PREFIX + name.upper().replace("-", "_"), "")
