"""Faults that the stand-in makes on request: `429:every=5`, `500:first=3`, `drop:every=7`, `delay=2:every=4`.

Counted over all requests to a model endpoint, so that a run meets the same faults each time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.errors import UsageError

_FAULT = re.compile(
    r"(?P<what>[1-5]\d\d|drop|truncate|delay=(?P<seconds>\d+(?:\.\d+)?))"
    r"(?::(?P<when>every|first|after|only)=(?P<n>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`status` answers with that HTTP status, `drop` closes the connection unanswered, `truncate` half-way
    through the body; `delay` waits that many seconds first. `when` and `n` choose the requests (from 1)."""

    what: str
    delay: float
    when: str
    n: int

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Raises UsageError with the forms that are understood."""
        match = _FAULT.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"not a fault: {text!r}",
                hint="expected STATUS, drop, truncate or delay=SECONDS, then optionally :every=N, :first=N, "
                ":after=N or :only=N, for example 429:every=5",
            )
        what = "delay" if match["seconds"] else match["what"]
        return cls(what, float(match["seconds"] or 0), match["when"] or "every", int(match["n"] or 1))

    def hits(self, number: int) -> bool:
        match self.when:
            case "every":
                return number % max(self.n, 1) == 0
            case "first":
                return number <= self.n
            case "after":
                return number > self.n
            case _:
                return number == self.n

    @property
    def status(self) -> int | None:
        return int(self.what) if self.what.isdigit() else None


def for_request(faults: Sequence[Fault], number: int) -> list[Fault]:
    return [fault for fault in faults if fault.hits(number)]
