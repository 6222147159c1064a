"""Suggestions for names that were misspelt."""

from __future__ import annotations

from collections.abc import Iterable


def near(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names most like `name`, best first; letter case doesn't count."""
    import difflib  # noqa: PLC0415 # only when a name was misspelt

    spelt = {each.lower(): each for each in known}
    return [spelt[found] for found in difflib.get_close_matches(name.lower(), spelt, n=limit, cutoff=0.6)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'a' or 'b'?`, or nothing when nothing is near."""
    found = near(name, known)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""
