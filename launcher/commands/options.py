"""What several of the launcher's commands share: opening the database, naming runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from catalog.errors import NotFound, UsageError
from launcher.runs.database import Database, JobRow

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


def runs_argument(required: bool = True, what: str = "RUN") -> Callable[[Command], Command]:
    return click.argument(
        "runs", nargs=-1, required=required, metavar=f"{what}..." if required else f"[{what}]..."
    )


def resolve(opened: Database, prefixes: Sequence[str]) -> list[str]:
    """Run ids by prefix, each once. A job's key names its run."""
    return list(dict.fromkeys(opened.resolve(prefix.partition("-")[0]) for prefix in prefixes))


def resolve_whole(opened: Database, names: Sequence[str]) -> list[str]:
    """Run ids by prefix, for what changes whole runs. Raises UsageError for a job's key."""
    found = resolve(opened, names)
    for name in names:
        if "-" in name:
            run_id = opened.resolve(name.partition("-")[0])
            raise UsageError(
                f"{name} is a job, and this changes whole runs",
                hint=f"give {run_id} for all of its {len(opened.jobs(run_id))} jobs",
            )
    return found


def named_jobs(opened: Database, name: str) -> list[JobRow]:
    """The jobs of a run, or the one whose key (`RUN-007` or `RUN-7`) this is. Raises NotFound."""
    (run_id,) = resolve(opened, [name])
    rows, number = opened.jobs(run_id), name.partition("-")[2]
    found = rows if "-" not in name else [row for row in rows if row.key.endswith(f"-{number:>03}")]
    if not found:
        raise NotFound(f"no job {name!r}", hint=f"`evaldock status {run_id}` lists its jobs")
    return found


def seconds(text: str) -> float:
    """`90s`, `30m`, `12h`, `7d`, `2w`. Raises UsageError."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a span of time: {text!r}", hint="expected for example 30m, 12h or 7d")
    return float(match[1]) * _SECONDS[match[2]]
