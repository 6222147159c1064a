"""What a task's own page shows of its results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from catalog.models import Harness, Task
from catalog.record_files import Published
from generator.site.results.board import Board
from generator.site.results.plots import DotPlot, History, dot_plot, history
from generator.site.results.shown import Results, model_page, record_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`drawings` and `histories` by a board's id; `json` and `csv` are the addresses of its data."""

    boards: tuple[Board, ...]
    drawings: Mapping[str, DotPlot]
    histories: Mapping[str, History | None]
    json: str
    csv: str
    model_page: Callable[[str], str] = model_page
    record_page: Callable[[Published], str] = record_page


def section(results: Results, harness: Harness, task: Task, page: str) -> Section | None:
    """None where nobody has measured the task."""
    boards = tuple(results.boards(harness, task))
    if not boards:
        return None
    beside = results_of(page)
    return Section(
        boards=boards,
        drawings={board.id: dot_plot(board) for board in boards},
        histories={board.id: history(board) for board in boards},
        json=f"{beside}.json",
        csv=f"{beside}.csv",
    )


def results_of(page: str) -> str:
    """The name of the data of a task page's results."""
    return f"{page}.results"
