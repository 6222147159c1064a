"""What a group of measurements says: tables and targets, printed and in docs/reference/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measuring import ROOT, Measured

PAGE = ROOT / "docs" / "reference" / "benchmarks.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The first column of `rows` is text, the others are numbers with units."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    what: str
    wanted: str
    measured: str
    met: bool


@dataclass(slots=True)
class Report:
    """`left_out` says what couldn't be measured here, and why."""

    title: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def target(self, what: str, wanted: str, measured: str, met: bool) -> None:
        self.targets.append(Target(what=what, wanted=wanted, measured=measured, met=met))


def compared(
    title: str, measured: Sequence[Measured], *, counts: Sequence[str] = (), note: str = ""
) -> Table:
    """A row for each contestant, the ratios to the first one. `counts` are further columns."""
    first = measured[0]
    rows = []
    for one in measured:
        ratio = "1" if one is first else f"{times(one.wall / first.wall)} / {times(one.cpu / first.cpu)}"
        low, high = one.span
        rows.append(
            (
                one.name,
                f"{seconds(one.wall)} ({seconds(low)}–{seconds(high)})",  # noqa: RUF001 # a range's dash
                seconds(one.cpu),
                ratio,
                size(one.peak) if one.peak else "",
                *(_count(one, name) for name in counts),
            )
        )
    columns = ("", "seconds (least–most)", "CPU s", "times as much (wall / CPU)", "peak memory", *counts)  # noqa: RUF001
    return Table(title=title, columns=columns, rows=rows, note=note)


def _count(one: Measured, name: str) -> str:
    if name not in one.samples[0].more:
        return ""
    value = one.more(name)
    return size(value) if name == "received" else f"{value:,.3g}" if value % 1 else f"{value:,.0f}"


def seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def times(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def size(value: float) -> str:
    """Powers of ten, as registries and the targets count."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value < 1000 * factor else f"{value / factor:.0f} {unit}"
    return f"{value:.0f} B"


def markdown(report: Report) -> str:
    parts = []
    if report.targets:
        rows = [(t.what, t.wanted, t.measured, "yes" if t.met else "**no**") for t in report.targets]
        parts.append(_table(("target", "wanted", "measured", "met"), rows))
    for table in report.tables:
        parts.append(f"**{table.title}**\n\n{_table(table.columns, table.rows)}")
        if table.note:
            parts.append(table.note)
    parts += [f"Not measured: {reason}" for reason in report.left_out]
    return "\n\n".join(parts)


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    python = platform.python_version()
    return f"Measured on {cores} cores with {memory / 2**30:.0f} GiB of memory, Python {python}."


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Replaces what stands between the markers of `name`."""
    begin, end = f"<!-- bench: {name} -->", f"<!-- bench: end of {name} -->"
    found = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    before = page.read_text()
    if not found.search(before):
        raise RuntimeError(f"{page} has no block {begin} … {end}")
    page.write_text(found.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_row(columns), _row(["---", *("---:" for _ in columns[1:])]), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
