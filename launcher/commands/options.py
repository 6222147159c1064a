"""What several of the launcher's commands share: opening the database, naming runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from catalog.errors import UsageError
from launcher.runs.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@contextmanager
def database() -> Iterator[Database]:
    opened = Database()
    try:
        yield opened
    finally:
        opened.close()


def runs_argument(required: bool = True) -> Callable[[Command], Command]:
    return click.argument("runs", nargs=-1, required=required, metavar="RUN..." if required else "[RUN]...")


def resolve(opened: Database, prefixes: Sequence[str]) -> list[str]:
    """Run ids by prefix, each once. A job's key names its run."""
    return list(dict.fromkeys(opened.resolve(prefix.partition("-")[0]) for prefix in prefixes))


def seconds(text: str) -> float:
    """`90s`, `30m`, `12h`, `7d`, `2w`. Raises UsageError."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a span of time: {text!r}", hint="expected for example 30m, 12h or 7d")
    return float(match[1]) * _SECONDS[match[2]]
