"""Leaderboards: records that asked the same question of the same task, ranked. Pure.

One board per task_sha, params_sha and limit. The boards of the task as the catalog has it now come first,
whole ones before limited ones; an older task_sha is outdated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog import statistics
from catalog.exporters import lower_is_better
from catalog.record_files import Published
from catalog.records import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model's newest record on a board. `low` and `high`: the score's 95 % interval, where known. `tied`:
    its difference to the row above could be chance."""

    one: Published
    metric: Metric
    low: float | None
    high: float | None
    tied: bool
    history: tuple[Published, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """`rows` from the best down; `lower` says that less is better. `overrides` is what was asked for beside
    the defaults, the same for all rows."""

    task_sha: str
    params_sha: str
    limit: float | None
    outdated: bool
    lower: bool
    metric: str
    label: str
    rows: tuple[Row, ...]

    @property
    def overrides(self) -> Mapping[str, object]:
        return self.rows[0].one.record.overrides

    @property
    def id(self) -> str:
        limit = "" if self.limit is None else f"-{self.limit:g}".replace(".", "_")
        return f"board-{self.task_sha[:8]}-{self.params_sha[:8]}{limit}"


def boards(published: Sequence[Published], current: Sequence[str]) -> list[Board]:
    """Of one task's records. `current`: the task_shas that the catalog's task has now."""
    groups: dict[tuple[str, str, float | None], list[Published]] = {}
    for one in published:
        groups.setdefault(one.record.comparable, []).append(one)
    made = [_board(group, group[0].record.task_sha not in current) for group in groups.values()]
    # Within its kind, the board that most models are on comes first.
    return sorted(
        made,
        key=lambda b: (b.outdated, b.limit is not None, -len(b.rows), b.task_sha, b.params_sha, b.limit or 0),
    )


def _board(group: Sequence[Published], outdated: bool) -> Board:
    by_model: dict[str, list[Published]] = {}
    for one in sorted(group, key=_time):
        by_model.setdefault(one.record.model, []).append(one)
    newest = [records[-1] for records in by_model.values()]
    main = newest[0].record.primary
    lower = lower_is_better(main)
    scored = [(one, one.record.metric(main.name) or one.record.primary) for one in newest]
    scored.sort(key=lambda pair: (pair[1].value if lower else -pair[1].value, pair[0].record.model))
    rows: list[Row] = []
    for one, metric in scored:
        low, high = statistics.interval(metric) or (None, None)
        above = rows[-1].metric if rows else None
        tied = above is not None and statistics.independent(above, metric).chance is True
        history = tuple(by_model[one.record.model])
        rows.append(Row(one=one, metric=metric, low=low, high=high, tied=tied, history=history))
    record = group[0].record
    return Board(
        task_sha=record.task_sha,
        params_sha=record.params_sha,
        limit=record.limit,
        outdated=outdated,
        lower=lower,
        metric=main.name,
        label=main.label,
        rows=tuple(rows),
    )


def _time(one: Published) -> tuple[str, str]:
    return one.record.ended or "", one.record.run
