"""`evaldock cache ls` and `evaldock cache prune`."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from catalog.amounts import bytes_text
from catalog.cachedir import cache_dir
from catalog.console import json_option, out, print_json, safe, width
from catalog.errors import UsageError
from catalog.tables import Column, table
from generator.cache import FOLDER

_DAY = 86400


@dataclass(frozen=True, slots=True)
class _Kind:
    """Entries are the files below `folder`, or with `whole` the folders right in it."""

    folder: str
    holds: str
    whole: bool = False
    pruned: bool = True


# Nothing else in the folder is looked at or removed: EVALDOCK_CACHE may name one that holds more.
_KINDS = (
    _Kind(f"{FOLDER}/answers", "what images hold"),
    _Kind(f"{FOLDER}/images", "which image a digest is"),
    _Kind(f"{FOLDER}/layers", "what layers hold"),
    _Kind(f"{FOLDER}/references", "which names were read"),
    _Kind("parsed", "YAML files, parsed"),
    _Kind("site", "pages of sites", whole=True),
    # Runs may be using these.
    _Kind("artifacts", "artifacts for runs; prune keeps them", whole=True, pruned=False),
    _Kind("git", "git repositories for runs; prune keeps them", whole=True, pruned=False),
    _Kind("environments", "packages for runs; prune keeps them", whole=True, pruned=False),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """`used` is when it was last written or, for what is touched on use, used; in seconds since the epoch."""

    path: Path
    size: int
    used: float


@click.command()
@json_option
def ls(*, as_json: bool) -> None:
    """Show what the cache holds and how much.

    It lies in EVALDOCK_CACHE, else in evaldock below XDG_CACHE_HOME or ~/.cache. Everything in it can be made
    again.

    \b
    Examples:
      evaldock cache ls
      evaldock cache ls --json
    """
    held = {kind: list(_entries(kind)) for kind in _KINDS}
    if as_json:
        print_json({"folder": str(cache_dir()), "kinds": [_as_data(kind, held[kind]) for kind in _KINDS]})
        return
    out(safe(str(cache_dir())))
    rows = [
        (kind.folder, str(len(entries)), bytes_text(sum(entry.size for entry in entries)), kind.holds)
        for kind, entries in held.items()
        if entries
    ]
    if not rows:
        out("nothing is kept there")
        return
    columns = (Column("what"), Column("entries", right=True), Column("size", right=True))
    out(table((*columns, Column("holds", flexible=True)), rows, width=width()))


@click.command()
@click.option("--older-than", metavar="DAYS", type=click.FloatRange(min=0), help="What wasn't used since.")
@click.option("--all", "everything", is_flag=True, help="Everything that can be made again by reading.")
@json_option
def prune(*, older_than: float | None, everything: bool, as_json: bool) -> None:
    """Remove cached reads, all or those not used for some days, and say what that freed.

    \b
    Examples:
      evaldock cache prune --older-than 30
      evaldock cache prune --all
    """
    if everything == (older_than is not None):
        raise UsageError("what should be removed?", hint="give either --older-than DAYS or --all")
    before = time.time() - (older_than or 0) * _DAY
    removed = [
        entry
        for kind in _KINDS
        if kind.pruned
        for entry in _entries(kind)
        if (everything or entry.used < before) and _remove(entry.path)
    ]
    freed = sum(entry.size for entry in removed)
    if as_json:
        print_json({"removed": len(removed), "bytes": freed})
        return
    count = len(removed)
    out(f"removed {count} entr{'y' if count == 1 else 'ies'}, freed {bytes_text(freed)}")


def _as_data(kind: _Kind, entries: list[_Entry]) -> Mapping[str, object]:
    return {
        "what": kind.folder,
        "holds": kind.holds,
        "entries": len(entries),
        "bytes": sum(entry.size for entry in entries),
    }


def _entries(kind: _Kind) -> Iterator[_Entry]:
    root = cache_dir(*kind.folder.split("/"))
    if not kind.whole:
        yield from _files(root)
        return
    with contextlib.suppress(OSError):
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and not folder.is_symlink():
                files = list(_files(folder))
                used = max((file.used for file in files), default=folder.stat().st_mtime)
                yield _Entry(folder, sum(file.size for file in files), used)


def _files(root: Path) -> Iterator[_Entry]:
    # Links are neither followed nor counted: what they lead to isn't the cache's.
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                status = path.lstat()
                yield _Entry(path, status.st_size, status.st_mtime)


def _remove(path: Path) -> bool:
    """Whether it is gone by our doing; another process may have been first."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # works only when it is empty
    return True
