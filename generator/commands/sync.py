"""`evaldock sync [ENTRY…]`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from catalog import store
from catalog.console import (
    bold,
    catalog_option,
    dim,
    green,
    json_option,
    one_line,
    out,
    print_json,
    red,
    safe,
    warn,
    yellow,
)
from catalog.difference_text import as_text, difference_data, summary
from catalog.errors import EvaldockError
from catalog.models import EntryState
from catalog.progress import progress
from generator.sync import Options, Outcome, Result, Synced
from generator.sync import sync as run_sync

# Changes shown per entry; `evaldock diff` shows them all.
_SHOWN = 12
_JOBS = 8


@click.command()
@click.argument("entries", nargs=-1, metavar="[ENTRY]...")
@click.option("--complete", is_flag=True, help="Read every layer, so that nothing stays unknown.")
@click.option("--strict", is_flag=True, help="Refuse framework.yml files with unknown keys.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=_JOBS, show_default=True, help="Images read at once."
)
@click.option("--dry-run", is_flag=True, help="Read and compare, but write nothing.")
@catalog_option
@json_option
def sync(
    *,
    entries: tuple[str, ...],
    complete: bool,
    strict: bool,
    jobs: int,
    dry_run: bool,
    catalog_dir: Path | None,
    as_json: bool,
) -> None:
    """Read every image of mapping.toml and write the IR. With ENTRYs only those, the others stay as recorded.

    An image whose digest is on record isn't read again. An entry that can't be read keeps its last good IR,
    is marked as stale, and makes the exit code 1; when every entry failed for one kind of reason, the code
    of that reason.

    \b
    Examples:
      evaldock sync
      evaldock sync mmath bfcl --complete
      evaldock sync --dry-run --json
    """
    root = store.find_root(catalog_dir)
    options = Options(keys=entries, complete=complete, strict=strict, jobs=jobs, dry_run=dry_run)
    synced = run_sync(root, options, lambda total: progress("Reading images", total))
    for line in synced.warnings:
        warn(f"{root / store.MAPPING}: {line}")
    for outcome in synced.outcomes:
        for line in outcome.warnings:
            warn(f"{outcome.key}: {line}")
    if as_json:
        print_json(_data(root, synced))
    else:
        out("\n".join(_report(synced, dry_run=dry_run)))
    for outcome in synced.outcomes:
        if outcome.error is not None:
            out("\n".join(_failure(root, outcome, outcome.error)), err=True)
    code = exit_code(synced)
    if code:
        raise click.exceptions.Exit(code)


def exit_code(synced: Synced) -> int:
    """0 without failures; their common code when all that was asked for failed; else 1."""
    codes = {error.exit_code for error in synced.failures}
    nothing_read = all(one.result not in (Result.READ, Result.UNCHANGED) for one in synced.outcomes)
    return codes.pop() if len(codes) == 1 and nothing_read else int(bool(codes))


def _report(synced: Synced, *, dry_run: bool) -> Iterator[str]:
    for outcome in synced.outcomes:
        if outcome.difference or outcome.result is Result.REMOVED:
            gone = "no longer in mapping.toml; " if outcome.result is Result.REMOVED else ""
            yield f"{bold(one_line(outcome.key))}: {gone}{summary(outcome.difference)}"
            yield from _changes(outcome)
    yield dim("; ".join(_counts(synced.outcomes)))
    incomplete = [
        one.key for one in synced.outcomes if one.entry.image is not None and not one.entry.image.complete
    ]
    if incomplete:
        yield dim(f"not every layer was read (`--complete` does) of: {one_line(', '.join(incomplete))}")
    if dry_run:
        yield "nothing was written: --dry-run"
        return
    files = [f"wrote {name}" for name in synced.changed] + [f"removed {name}" for name in synced.removed]
    yield green("; ".join(files)) if files else "the IR was up to date"


def _changes(outcome: Outcome) -> Iterator[str]:
    lines = as_text(outcome.difference).split("\n")[:-1]
    yield from (f"  {line}" for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield dim(f"  … {len(lines) - _SHOWN} more lines; `evaldock diff HEAD` shows all")


def _counts(outcomes: Sequence[Outcome]) -> Iterator[str]:
    meanings = {
        Result.READ: "read",
        Result.UNCHANGED: "unchanged",
        Result.KEPT: "not asked for",
        Result.REMOVED: "removed",
        Result.FAILED: "failed",
    }
    entries = len(outcomes)
    yield f"{entries} entr{'y' if entries == 1 else 'ies'}"
    for result, meaning in meanings.items():
        count = sum(one.result is result for one in outcomes)
        if count:
            yield f"{count} {meaning}"
    for one in outcomes:
        if one.result is Result.KEPT and one.entry.state is EntryState.STALE:
            yield f"{one_line(one.key)} is stale"


def _failure(root: Path, outcome: Outcome, error: EvaldockError) -> Iterator[str]:
    line = f":{outcome.line}" if outcome.line else ""
    yield red(f"error: {root / store.MAPPING}{line}: entry {safe(outcome.key)!r} could not be read")
    yield from (f"  {safe(each)}" for each in str(error).split("\n"))
    kept = len(outcome.entry.harnesses)
    yield yellow("  its last good IR was kept, marked as stale" if kept else "  nothing is known of it yet")


def _data(root: Path, synced: Synced) -> dict[str, Any]:
    return {
        "catalog": os.fspath(root),
        "changed": list(synced.changed),
        "removed": list(synced.removed),
        "cost": {"requests": synced.cost.requests, "bytes": synced.cost.bytes},
        "entries": [_outcome_data(outcome) for outcome in synced.outcomes],
    }


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    image = outcome.entry.image
    return {
        "key": outcome.key,
        "result": str(outcome.result),
        "container": outcome.entry.mapping.container,
        "state": str(outcome.entry.state),
        "reason": outcome.entry.reason,
        "error": None if outcome.error is None else str(outcome.error),
        "digest": None if image is None else image.digest,
        "complete": None if image is None else image.complete,
        "harnesses": [{"name": one.name, "tasks": len(one.tasks)} for one in outcome.entry.harnesses],
        "warnings": list(outcome.warnings),
        "difference": difference_data(outcome.difference),
    }
