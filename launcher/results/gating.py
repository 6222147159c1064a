"""Is a run good enough? Its scores against least values, and against results that were published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog import comparison
from catalog.comparison import SampleReader, verdict
from catalog.errors import NotFound, UsageError
from catalog.exporters import lower_is_better
from catalog.record_files import Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`metric` is None where there is no score to speak of; `says` is for people."""

    task: str
    model: str
    metric: str | None
    passed: bool
    says: str


def minimum(mine: Sequence[Published], text: str) -> list[Check]:
    """`VALUE` or `TASK[/METRIC]=VALUE`. Raises UsageError for anything else, NotFound for a task or metric
    that the run lacks."""
    name, equals, value = text.rpartition("=")
    try:
        least = float(value)
    except ValueError:
        raise UsageError(f"not a minimum: {text!r}", hint="expected 0.9 or TASK/METRIC=0.9") from None
    task, _, wanted = name.partition("/")
    checks = []
    for one in mine:
        record = one.record
        if equals and task not in (record.task_id, record.task):
            continue
        metric = record.metric(wanted) if wanted else record.primary
        if metric is None:
            raise NotFound(
                f"{record.task_id} has no metric {wanted!r}",
                hint=f"it has {', '.join(m.name for m in record.metrics[:10])}",
            )
        checks.append(
            Check(
                task=record.task_id,
                model=record.model,
                metric=metric.name,
                passed=metric.value >= least,
                says=f"{metric.value:.4g}, at least {least:g} wanted",
            )
        )
    if equals and not checks:
        raise NotFound(f"the run has no result of a task {task!r}")
    return checks


def no_worse(
    mine: Sequence[Published], base: Sequence[Published], name: str, samples: SampleReader
) -> list[Check]:
    """Each of `mine` against the newest of `base` that asked the same question; never against itself. Raises
    NotFound where `base` has none of the tasks."""
    own = {one.record.run for one in mine}
    others = [one for one in base if one.record.run not in own]
    checks = []
    for one in mine:
        same_task = [other for other in others if other.record.task_id == one.record.task_id]
        same_model = [other for other in same_task if other.record.model == one.record.model]
        if same_task:
            checks.append(_against(one, same_model or same_task, samples))
    if mine and not checks:
        raise NotFound(f"no task of the run has a result of {name!r} to hold against")
    return checks


def _against(one: Published, candidates: Sequence[Published], samples: SampleReader) -> Check:
    record = one.record
    equal = [
        other
        for other in candidates
        if other.record.comparable == record.comparable and not other.record.partial
    ]
    passed, metric = False, None
    if not equal:
        says = "the baseline is of another image, other parameters or another limit"
    else:
        (best,) = comparison.newest(equal)
        metric = best.record.primary.name
        row = next((r for r in comparison.compare_records(best, one, samples) if r.metric == metric), None)
        if row is None:
            says = "the baseline has this metric, the run has not"
        else:
            change = row.difference.value
            worse = change > 0 if lower_is_better(row.second) else change < 0
            passed = not worse or row.difference.chance is True
            says = f"{row.second.value:.4g} against {row.first.value:.4g}: {verdict(row)}"
    return Check(task=record.task_id, model=record.model, metric=metric, passed=passed, says=says)
