"""Finds recipes below a folder: adding one is writing one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import EvaldockError, NotFound
from launcher.recipes.blocks import SCRIPT, find_blocks
from launcher.recipes.runspec import Runspec
from launcher.recipes.runspec_reading import MAX_BYTES, parse, read_script

_SKIPPED = {"node_modules", "__pycache__", "site-packages"}
# A folder that holds these is a virtual environment, or the folder of a run.
_MARKS = ({"pyvenv.cfg"}, {"run.json", "jobs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Either `spec`, or what is wrong with it in words."""

    path: Path
    spec: Runspec | None = None
    problem: str = ""


def find(folder: Path) -> list[Found]:
    """Sorted by path. Raises NotFound where there is no such folder."""
    if not folder.is_dir():
        raise NotFound("no such folder", place=str(folder))
    return [found for path in sorted(_candidates(folder)) if (found := _read(path)) is not None]


def _candidates(folder: Path) -> Iterator[Path]:
    """Scripts that may be recipes. Hidden folders are left out, and those of what was installed or ran."""
    for at, folders, names in os.walk(folder):
        listed = {*folders, *names}
        if any(mark <= listed for mark in _MARKS):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for name in names:
            path = Path(at, name)
            if name.endswith(".py") and _mentions(path):
                yield path


def _mentions(path: Path) -> bool:
    """Whether it is worth a closer look: only its bytes are asked."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError:
        return False
    return b"\n# /// script" in b"\n" + data and b"runspec" in data


def _read(path: Path) -> Found | None:
    """None for a script whose metadata, if it has any, is other tools'."""
    try:
        blocks = find_blocks(read_script(path))
        whole = [block for block in blocks.whole if block.type == SCRIPT]
        if not blocks.unfinished and not any("runspec" in block.content for block in whole):
            return None
        return Found(path=path, spec=parse(path))
    except EvaldockError as error:
        return Found(path=path, problem=str(error))
