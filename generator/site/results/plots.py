"""Numbers for plots: positions in a drawing of fixed width. The SVG itself is a template. Pure."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from generator.site.results.board import Board, Row

WIDTH, LEFT, RIGHT = 640, 200, 60
ROW_HEIGHT, HISTORY_HEIGHT = 24, 160
MOST_ROWS, MOST_LINES = 40, 6


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """`low` and `high` are the ends of the error bar; equal to `x` where the uncertainty is unknown."""

    label: str
    value: str
    x: float
    low: float
    high: float
    y: float


@dataclass(frozen=True, slots=True)
class DotPlot:
    """One row per model, a dot with its error bar. `height` and all positions in the drawing's own units."""

    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    height: float
    left_out: int


def dot_plot(board: Board) -> DotPlot:
    rows = board.rows[:MOST_ROWS]
    ends = [end for row in rows for end in (row.metric.value, row.low, row.high) if end is not None]
    scale = _Scale.over(ends, LEFT, WIDTH - RIGHT)
    return DotPlot(
        dots=tuple(_dot(row, scale, number) for number, row in enumerate(rows)),
        ticks=scale.ticks(),
        height=ROW_HEIGHT * len(rows) + 30,
        left_out=len(board.rows) - len(rows),
    )


def _dot(row: Row, scale: _Scale, number: int) -> Dot:
    value = row.metric.value
    return Dot(
        label=row.one.record.model,
        value=text_of(value),
        x=scale.at(value),
        low=scale.at(row.low if row.low is not None else value),
        high=scale.at(row.high if row.high is not None else value),
        y=ROW_HEIGHT * number + ROW_HEIGHT / 2,
    )


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    points: tuple[Dot, ...]

    @property
    def path(self) -> str:
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True, slots=True)
class History:
    """Scores over time, a line per model that was measured more than once."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    height: float = HISTORY_HEIGHT


def history(board: Board) -> History | None:
    """None where no model has two dated records."""
    told: list[tuple[str, list[tuple[int, float]]]] = []
    for row in board.rows:
        points = [
            (_seconds(one.record.ended), metric.value)
            for one in row.history
            if one.record.ended and (metric := one.record.metric(board.metric)) is not None
        ]
        if len(points) > 1:
            told.append((row.one.record.model, points))
    told = told[:MOST_LINES]
    if not told:
        return None
    times = [moment for _, points in told for moment, _ in points]
    values = [value for _, points in told for _, value in points]
    across = _Scale.over([float(moment) for moment in times], 60, WIDTH - RIGHT)
    down = _Scale.over(values, HISTORY_HEIGHT - 30, 10)
    lines = tuple(
        Line(
            label,
            tuple(
                Dot(_day(moment), text_of(value), across.at(moment), 0, 0, down.at(value))
                for moment, value in points
            ),
        )
        for label, points in told
    )
    first, last = min(times), max(times)
    x_ticks = tuple(Tick(across.at(moment), _day(moment)) for moment in dict.fromkeys((first, last)))
    return History(lines, x_ticks, down.ticks())


def text_of(value: float) -> str:
    return f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Scale:
        low, high = min(values), max(values)
        if low == high:
            room = abs(low) * 0.1 or 1.0
            low, high = low - room, high + room
        return cls(low, high, start, end)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Three to six round numbers."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
        for factor in (1, 2, 5, 10):
            if (self.high - self.low) / (step * factor) <= 5:
                step *= factor
                break
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return tuple(Tick(self.at(n * step), text_of(n * step)) for n in range(first, last + 1))


def _seconds(timestamp: str) -> int:
    try:
        return calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return 0


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
