"""Generated blocks in hand-written Markdown pages. Pure.

A block stands between `<!-- evaldock:NAME -->` and `<!-- evaldock:end -->`, each on a line of its own;
markers in fenced code are text. Everything outside of blocks stays byte for byte.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from catalog.console import one_line
from catalog.difference_text import code
from catalog.errors import InvalidInput
from catalog.models import Catalog, Harness
from catalog.nearest import did_you_mean
from catalog.selection import UNKNOWN, find_harness

_MARKER = re.compile(r" {0,3}<!--\s*evaldock:(?P<text>[^\r\n]*?)\s*-->\s*")
_FENCE = re.compile(r"\s*(?:[-*+>]\s+)*(?P<fence>`{3,}|~{3,})(?P<info>.*)", re.DOTALL)
_END = "end"
_LONGEST = 240  # of a description in a table's cell


def _harnesses(catalog: Catalog, _argument: str) -> str:
    if not catalog.harnesses:
        return "*No harnesses yet.*"
    rows = ["| Harness | Tasks | Image | About |", "|---|---:|---|---|"]
    for harness in catalog.harnesses:
        about = harness.description or (harness.full_name or "")
        cells = (_linked(harness), str(len(harness.tasks)), _code_cell(harness.image.container), _cell(about))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _tasks(catalog: Catalog, argument: str) -> str:
    harness = find_harness(catalog, argument)
    rows = ["| Task | Endpoint | About |", "|---|---|---|"]
    for task in harness.tasks:
        endpoint = ", ".join(task.endpoint_types) or UNKNOWN
        rows.append(
            f"| {_code_cell(task.id)} | {_cell(endpoint)} | {_cell(task.description or task.title or '')} |"
        )
    return "\n".join(rows)


def _numbers(catalog: Catalog, _argument: str) -> str:
    harnesses, tasks = len(catalog.harnesses), len(catalog.tasks)
    return f"{harnesses:,} harness{'' if harnesses == 1 else 'es'}, {tasks:,} task{'' if tasks == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Block:
    """`argument` is what the marker must give after the name, as a word for messages; None: nothing."""

    make: Callable[[Catalog, str], str]
    help: str
    argument: str | None = None


BLOCKS: Mapping[str, Block] = MappingProxyType(
    {
        "harnesses": Block(_harnesses, "a table of all harnesses"),
        "tasks": Block(_tasks, "a table of one harness's tasks", argument="HARNESS"),
        "numbers": Block(_numbers, "how many harnesses and tasks there are"),
    }
)


def fill(text: str, catalog: Catalog, place: str) -> tuple[str, int]:
    """The page with every block made anew, and how many there are.

    Raises InvalidInput with every wrong marker, and NotFound for a harness that the catalog doesn't have.
    """
    lines = list(io.StringIO(text, newline=""))
    found: list[_Found] = []
    problems: list[str] = []
    for at, marker in _markers(lines):
        if marker != _END:
            if found and found[-1].end is None:
                problems.append(f"line {at + 1}: a block inside of the block of line {found[-1].start + 1}")
            found.append(_Found(at, marker))
        elif found and found[-1].end is None:
            found[-1].end = at
        else:
            problems.append(f"line {at + 1}: an end without a beginning")
    for block in found:
        if block.end is None:
            problems.append(f"line {block.start + 1}: no `<!-- evaldock:end -->` follows")
        problems += [f"line {block.start + 1}: {problem}" for problem in _problems(block.marker)]
    if problems:
        raise InvalidInput("wrong markers", problems, place=place)
    return _filled(lines, found, catalog), len(found)


@dataclass(slots=True)
class _Found:
    start: int
    marker: str
    end: int | None = None


def _filled(lines: list[str], found: list[_Found], catalog: Catalog) -> str:
    parts: list[str] = []
    at = 0
    for block in found:
        assert block.end is not None  # noqa: S101 # `fill` refused those without
        name, _, argument = block.marker.partition(" ")
        opening = lines[block.start]
        newline = opening[len(opening.rstrip("\r\n")) :]
        body = BLOCKS[name].make(catalog, argument.strip())
        # Blank lines around it, since a table may not follow an HTML comment directly.
        parts += [*lines[at : block.start + 1], f"\n{body}\n\n".replace("\n", newline)]
        at = block.end
    return "".join([*parts, *lines[at:]])


def _markers(lines: list[str]) -> list[tuple[int, str]]:
    markers = []
    fence = ""
    for at, line in enumerate(lines):
        fenced = _FENCE.fullmatch(line)
        if fence:
            closes = fenced and not fenced["info"].strip() and fenced["fence"].startswith(fence)
            fence = "" if closes else fence
        elif fenced and not (fenced["fence"].startswith("`") and "`" in fenced["info"]):
            fence = fenced["fence"]
        elif marker := _MARKER.fullmatch(line):
            markers.append((at, marker["text"]))
    return markers


def _problems(marker: str) -> list[str]:
    name, _, argument = marker.partition(" ")
    block = BLOCKS.get(name)
    if block is None:
        known = ", ".join(BLOCKS)
        return [f"no block is named {name!r}{did_you_mean(name, BLOCKS)} (there are {known})"]
    if block.argument and not argument.strip():
        return [f"expected `<!-- evaldock:{name} {block.argument} -->`"]
    if argument.strip() and not block.argument:
        return [f"{name!r} takes nothing after its name"]
    return []


_SPECIAL = re.compile(r"([\\`*_\[\]<>&|~$#])")
_LINK = re.compile(r"https?://[^\s<>|\"'`\\()\[\]]+")


def _cell(text: str) -> str:
    """Untrusted text, in which Markdown finds nothing to interpret."""
    line = one_line(text)
    short = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"
    return _SPECIAL.sub(r"\\\1", short)


def _code_cell(text: str) -> str:
    # A table reads its cells' borders before it reads code spans.
    return code(text).replace("|", "\\|")


def _linked(harness: Harness) -> str:
    url = harness.url or ""
    return f"[{_cell(harness.name)}]({url})" if _LINK.fullmatch(url) else _cell(harness.name)
