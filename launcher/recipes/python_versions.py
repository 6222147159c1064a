"""`requires-python` of PEP 723: whether a version of Python will do.

The version specifiers of the packaging specification, for released versions, which is what Pythons have here.
"""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"(~=|==|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?")


def clauses(text: str) -> list[tuple[str, tuple[int, ...], bool]]:
    """Operator, release, and whether it ends in `.*`. Raises ValueError for what is none."""
    made = []
    for part in text.split(","):
        match = _CLAUSE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is no version specifier")
        operator, release, star = match[1], tuple(map(int, match[2].split("."))), match[3] is not None
        if star and operator not in ("==", "!="):
            raise ValueError(f"{part.strip()!r}: '.*' goes with == and != only")
        if operator == "~=" and len(release) == 1:
            raise ValueError(f"{part.strip()!r}: ~= needs two parts at least")
        made.append((operator, release, star))
    return made


def suits(text: str, version: tuple[int, ...]) -> bool:
    """Whether every clause holds for `version`. Raises ValueError as `clauses` does."""
    return all(_holds(operator, release, star, version) for operator, release, star in clauses(text))


def _holds(operator: str, release: tuple[int, ...], star: bool, version: tuple[int, ...]) -> bool:
    # "the release segment … zero padded to the same length"
    length = max(len(release), len(version))
    ours, theirs = _padded(version, length), _padded(release, length)
    if operator in ("==", "!="):
        same = ours[: len(release)] == release if star else ours == theirs
        return same is (operator == "==")
    if operator == "~=":
        # "~= V.N … is equivalent to >= V.N, == V.*"
        return ours >= theirs and ours[: len(release) - 1] == release[:-1]
    return {"<": ours < theirs, ">": ours > theirs, "<=": ours <= theirs, ">=": ours >= theirs}[operator]


def _padded(release: tuple[int, ...], length: int) -> tuple[int, ...]:
    return release + (0,) * (length - len(release))
