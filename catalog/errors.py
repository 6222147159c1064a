"""Every error that a user sees, with one exit code per class.

A message names the thing; `place` says where it stands (file, line, key path), `hint` what to do next.
Code outside this module raises these; only `catalog.cli.main` turns them into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence


class EvaldockError(Exception):
    """Base class. `exit_code` 1 also stands for drift, a failed job and a failed gate."""

    exit_code = 1

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class UsageError(EvaldockError):
    """Arguments or an input file that can't be what was meant."""

    exit_code = 2


class InvalidInput(UsageError):
    """A file with several mistakes, all told at once.

    `problems` are complete lines, each with its own key path.
    """

    def __init__(
        self, what: str, problems: Sequence[str], *, place: str | None = None, hint: str | None = None
    ):
        self.problems = tuple(problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"{what}{listed}", place=place, hint=hint)


class NotFound(EvaldockError):
    """A task, harness, image, file or run that doesn't exist."""

    exit_code = 3


class Unreachable(EvaldockError):
    """A registry or backend that doesn't answer, or not in time."""

    exit_code = 4


class Refused(EvaldockError):
    """Something possible that must not be done: a limit passed, a checksum wrong, access denied."""

    exit_code = 5


def refusal(error: OSError) -> Refused:
    """No permission, no space, a read-only disk: the file and the reason are all there is to say."""
    return Refused(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
