"""Tables, fields and paragraphs as text, for narrow terminals, wide ones and pipes. Pure.

Widths are in terminal columns: a wide character (UAX 11) takes two, a combining mark none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from catalog.console import bold, one_line, safe

GAP = "  "
# Below this many columns for a column that can give way, rows are stacked instead.
_LEAST = 20


@dataclass(frozen=True, slots=True)
class Column:
    """`flexible`: gives way when the terminal is narrow, cut with an ellipsis. At most one per table."""

    title: str
    flexible: bool = False
    right: bool = False
    style: Callable[[str], str] | None = None


def display_width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """At most `width` columns, the last of them an ellipsis when something was cut."""
    if display_width(text) <= width:
        return text
    head, _ = _split_at(text, width - 1)
    return f"{head.rstrip()}…"


def _split_at(text: str, width: int) -> tuple[str, str]:
    used = 0
    for position, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:position], text[position:]
    return text, ""


def wrap(text: str, width: int, *, indent: str = "") -> list[str]:
    """Lines of at most `width` columns, `indent` included. Words longer than a line are broken."""
    room = max(width - len(indent), 8)
    lines: list[str] = []
    line = ""
    for word in _words(text, room):
        if line and display_width(line) + 1 + display_width(word) > room:
            lines.append(indent + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, indent + line] if line else lines


def _words(text: str, room: int) -> Iterator[str]:
    for word in safe(text).split():
        rest = word
        while display_width(rest) > room:
            head, rest = _split_at(rest, room)
            yield head
        yield rest


def paragraphs(text: str, width: int, *, indent: str = "") -> list[str]:
    """Wrapped, with blank lines between what blank lines divided."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        if part.strip():
            lines += ([""] if lines else []) + wrap(part, width, indent=indent)
    return lines


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None) -> str:
    """One line per row; two where `width` can't hold that. A column in which nothing stands is left out."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    used = [at for at in range(len(columns)) if at == 0 or any(row[at] for row in cells)]
    columns, cells = [columns[at] for at in used], [[row[at] for at in used] for row in cells]
    widths = [
        max([display_width(column.title), *(display_width(row[at]) for row in cells)])
        for at, column in enumerate(columns)
    ]
    if width is not None:
        over = sum(widths) + len(GAP) * (len(columns) - 1) - width
        flexible = next((at for at, column in enumerate(columns) if column.flexible), None)
        if over > 0:
            if flexible is None or widths[flexible] - over < _LEAST:
                return _stacked(columns, cells, width)
            widths[flexible] -= over
    header = _row([column.title.upper() for column in columns], widths, columns, styled=False)
    lines = [_row(row, widths, columns, styled=True) for row in cells]
    return "\n".join([bold(header), *lines])


def _row(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], *, styled: bool) -> str:
    parts = []
    for at, (cell, width, column) in enumerate(zip(cells, widths, columns, strict=True)):
        shown = shorten(cell, width) if column.flexible else cell
        padding = " " * (width - display_width(shown))
        if styled and column.style:
            shown = column.style(shown)
        last = at == len(columns) - 1
        parts.append(padding + shown if column.right else shown + ("" if last else padding))
    return GAP.join(parts).rstrip()


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    lines = []
    for first, *rest in rows:
        lines += [bold(line) for line in wrap(first, width)]
        # A number alone says nothing without the head of its column.
        parts = [
            f"{cell} {column.title}" if column.right else cell
            for column, cell in zip(columns[1:], rest, strict=True)
            if cell
        ]
        lines.append(GAP + shorten(" · ".join(parts), width - len(GAP)))
    return "\n".join(lines)


def fields(pairs: Sequence[tuple[str, str]], *, width: int) -> str:
    """`name  value` lines, values wrapped beside their name. Where that leaves too little room for a column
    of values, each stands behind its name if it fits there, else below it."""
    label = max((display_width(name) for name, _ in pairs), default=0)
    beside = width - label - len(GAP) >= _LEAST
    lines: list[str] = []
    for name, value in pairs:
        title, taken = bold(safe(name)), display_width(name)
        indent = " " * (label if beside else 0) + GAP
        wrapped = [line for part in value.split("\n") for line in wrap(part, width, indent=indent)]
        fits = len(wrapped) == 1 and taken + display_width(wrapped[0]) <= width
        if wrapped and (beside or fits):
            lines += [
                title + " " * (len(indent) - taken if beside else len(GAP)) + wrapped[0].lstrip(),
                *wrapped[1:],
            ]
        else:
            lines += [title, *wrapped]
    return "\n".join(lines)
