"""Two models or runs over the tasks that both have: what differs, and whether it could be chance.

The site, `evaldock compare`, `evaldock gate` and job summaries all say what this module says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import record_files, statistics
from catalog.errors import UsageError
from catalog.record_files import Published
from catalog.records import Metric
from catalog.statistics import Difference

SampleReader = Callable[[Published], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one task. `same_question` is False where task_sha, params_sha or limit differ: then the
    numbers stand side by side, but their difference says little."""

    task: str
    metric: str
    first: Metric
    second: Metric
    difference: Difference
    same_question: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`only_first` and `only_second` are tasks that the other side lacks."""

    rows: tuple[Row, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def newest(published: Sequence[Published]) -> list[Published]:
    """The newest record of each task: whole ones before limited ones, both before those of failed jobs."""

    def rank(one: Published) -> tuple[bool, bool, str, str]:
        record = one.record
        return not record.partial, record.limit is None, record.ended or "", record.run

    best = {one.record.task_id: one for one in sorted(published, key=rank)}
    return [best[task] for task in sorted(best)]


def of_model(published: Sequence[Published], model: str) -> list[Published]:
    return [one for one in published if one.record.model == model]


def of_run(published: Sequence[Published], run: str) -> list[Published]:
    """Of a run, or of one of its jobs (`RUN-000`); the beginning of a run's id is enough. Raises UsageError
    where it begins several."""
    begins, dash, job = run.partition("-")
    found = [
        one
        for one in published
        if begins and one.record.run.startswith(begins) and (not dash or _job(one).startswith(f"{job}-"))
    ]
    runs = sorted({one.record.run.partition("-")[0] for one in found})
    if len(runs) > 1 and begins not in runs:
        raise UsageError(
            f"several runs begin with {begins!r}: {', '.join(runs[:6])}", hint="give more of the id"
        )
    return [one for one in found if len(runs) == 1 or one.record.run.partition("-")[0] == begins]


def _job(one: Published) -> str:
    """What stands behind the run's id in a result's name, closed: `000-` is not the beginning of 0001."""
    return f"{one.record.run.partition('-')[2]}-"


def samples_in(root: Path) -> SampleReader:
    return lambda one: record_files.read_samples(root / one.file)


def compare(
    first: Sequence[Published], second: Sequence[Published], samples: SampleReader | None = None
) -> Comparison:
    """Each side with at most one record per task (`newest`). Tasks that both have, metric by metric."""
    left = {one.record.task_id: one for one in first}
    right = {one.record.task_id: one for one in second}
    rows = [
        row
        for task in sorted(left.keys() & right.keys())
        for row in compare_records(left[task], right[task], samples or (lambda _: {}))
    ]
    return Comparison(
        rows=tuple(rows),
        only_first=tuple(sorted(left.keys() - right.keys())),
        only_second=tuple(sorted(right.keys() - left.keys())),
    )


def compare_records(first: Published, second: Published, samples: SampleReader) -> list[Row]:
    """The metrics that both have, the first's primary one on top."""
    others = {metric.name: metric for metric in second.record.metrics}
    main = first.record.primary
    ordered = [main, *(metric for metric in first.record.metrics if metric is not main)]
    same = first.record.comparable == second.record.comparable
    return [
        Row(
            task=first.record.task_id,
            metric=metric.name,
            first=metric,
            second=others[metric.name],
            difference=_difference(first, second, metric, others[metric.name], samples),
            same_question=same,
        )
        for metric in ordered
        if metric.name in others
    ]


def _difference(
    first: Published, second: Published, metric: Metric, other: Metric, samples: SampleReader
) -> Difference:
    """Paired where both have scores per sample that add up to the metric in question."""
    one, two = samples(first), samples(second)
    if _belongs(one, metric) and _belongs(two, other):
        found = statistics.paired(one, two)
        if found is not None:
            return found
    return statistics.independent(metric, other)


def _belongs(scores: Mapping[str, float], metric: Metric) -> bool:
    return bool(scores) and abs(sum(scores.values()) / len(scores) - metric.value) < 1e-9


def verdict(row: Row) -> str:
    """In words, for tables: what the difference is worth."""
    if not row.same_question:
        return "not the same question"
    chance = row.difference.chance
    if chance is None:
        return "uncertainty unknown"
    if chance:
        return "could be chance"
    return "higher" if row.difference.value > 0 else "lower"


def row_data(row: Row) -> dict[str, Any]:
    """For JSON and tables."""
    return {
        "task": row.task,
        "metric": row.metric,
        "label": row.first.label,
        "first": row.first.value,
        "second": row.second.value,
        "difference": row.difference.value,
        "low": row.difference.low,
        "high": row.difference.high,
        "p": row.difference.p,
        "paired": row.difference.paired,
        "same_question": row.same_question,
        "verdict": verdict(row),
    }
