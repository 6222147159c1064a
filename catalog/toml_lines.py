"""Where things stand in a TOML file: TOML libraries read values and forget their lines."""

from __future__ import annotations

import re
from typing import Any

import tomli

_BARE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
# Strings first, so that quotes, brackets and `#` inside them don't count.
_TOKEN = re.compile(
    r'"""(?:[^\\"]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*|[\[\]{}=\n]",
    re.DOTALL,
)


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Key path → 1-based line of each table header and each `key = value` of valid TOML.

    What stands inside inline tables and arrays counts as part of its statement.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    line, counted = 1, 0
    for start, equals, end in _statements(text):
        line += text.count("\n", counted, start)
        counted = start
        if text[start] == "[":
            table = _path(text[start:end].strip("[] \t\r"))
            found.setdefault(table, line)
        elif equals is not None:
            found.setdefault(table + _path(text[start:equals].strip()), line)
    return found


def _statements(text: str) -> list[tuple[int, int | None, int]]:
    """(start, position of the first `=` outside brackets, end), blank lines and comments left out."""
    statements: list[tuple[int, int | None, int]] = []
    start, depth, equals = 0, 0, None
    end: int | None = None
    for token in _TOKEN.finditer(text + "\n"):
        mark = token[0]
        if mark[0] == "#":
            end = token.start() if end is None and depth == 0 else end
        elif mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark == "=":
            equals = token.start() if equals is None and depth == 0 else equals
        elif mark == "\n" and depth == 0:
            stop = token.start() if end is None else end
            first = start + len(text[start:stop]) - len(text[start:stop].lstrip())
            if first < stop:
                statements.append((first, equals, stop))
            start, equals, end = token.end(), None, None
    return statements


def _path(key: str) -> tuple[str, ...]:
    if _BARE.fullmatch(key):
        return tuple(key.split("."))
    # Quoted keys: TOML's own reader knows best.
    path: list[str] = []
    value: Any = tomli.loads(f"{key} = 0")
    while isinstance(value, dict):
        name, value = next(iter(value.items()))
        path.append(name)
    return tuple(path)
