"""What pages of results show, as values for their templates and as data beside them."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import comparison, exporters, record_files, statistics
from catalog.comparison import Comparison
from catalog.errors import UsageError
from catalog.identity import pinned_packages, task_sha
from catalog.models import Catalog, Harness, Task
from catalog.record_files import Published, path_of, safe_name
from catalog.records import Record, to_data
from generator.site.addresses import ROOT
from generator.site.results.board import Board, boards

MODELS = f"{ROOT}/models"
# Pairs of models grow with the square of their number; `evaldock compare` takes any two.
MOST_COMPARED = 12


class Results:
    """All records of a catalog. `problems` are files that aren't records."""

    def __init__(self, catalog: Catalog, published: Sequence[Published], problems: Sequence[str]) -> None:
        self.catalog, self.published, self.problems = catalog, tuple(published), tuple(problems)
        self._by_task: dict[str, list[Published]] = {}
        for one in published:
            self._by_task.setdefault(one.record.task_id, []).append(one)

    @classmethod
    def of(cls, catalog: Catalog) -> Results:
        return cls(catalog, *record_files.load_all(Path(catalog.root)))

    def of_task(self, task_id: str) -> list[Published]:
        return self._by_task.get(task_id, [])

    def of_task_key(self, task_id: str) -> list[Record]:
        """Changes with anything that the task's page shows of its results."""
        return [one.record for one in self._by_task.get(task_id, ())]

    def boards(self, harness: Harness, task: Task) -> list[Board]:
        mine = self.of_task(task.id)
        return boards(mine, self.current_shas(harness, task)) if mine else []

    def current_shas(self, harness: Harness, task: Task) -> list[str]:
        """What the task's results have as `task_sha` when it is run now, from its image or its packages."""
        shas = [task_sha(harness, task)]
        if harness.packages:
            pinned = pinned_packages(Path(self.catalog.root), harness.packages)
            shas.append(task_sha(harness, task, pinned))
        return shas

    @property
    def models(self) -> list[str]:
        return sorted({one.record.model for one in self.published})

    def of_model(self, model: str) -> list[Published]:
        return comparison.newest(comparison.of_model(self.published, model))

    def pairs(self) -> list[tuple[str, str]]:
        """The models with most tasks, in pairs that have a task in common."""
        tasks = {model: {one.record.task_id for one in self.of_model(model)} for model in self.models}
        most = sorted(tasks, key=lambda model: (-len(tasks[model]), model))[:MOST_COMPARED]
        return [(a, b) for a, b in itertools.combinations(sorted(most), 2) if tasks[a] & tasks[b]]

    def compare(self, first: str, second: str) -> Comparison:
        samples = comparison.samples_in(Path(self.catalog.root))
        return comparison.compare(self.of_model(first), self.of_model(second), samples)


def record_page(one: Published) -> str:
    return f"{ROOT}/results/{path_of(one.record).with_suffix('').as_posix()}"


def model_page(model: str) -> str:
    return f"{MODELS}/{safe_name(model)}"


def pair_page(first: str, second: str) -> str:
    return f"{ROOT}/compare/{safe_name(first)}..{safe_name(second)}"


@dataclass(frozen=True, slots=True)
class MetricRow:
    name: str
    value: str
    interval: str
    count: str


def metric_rows(record: Record) -> list[MetricRow]:
    rows = []
    for metric in record.metrics:
        between = statistics.interval(metric)
        shown = f"{between[0]:.4g} to {between[1]:.4g}" if between else "unknown"
        count = "unknown" if metric.count is None else f"{metric.count:,}"
        rows.append(MetricRow(metric.label, f"{metric.value:.6g}", shown, count))
    return rows


def again(record: Record, url: str) -> str:
    """The command that asks the same question again."""
    words = ["evaldock", "run", record.task_id, "--model-id", record.model, "--url", url]
    words += ["--backend", record.backend] if record.backend else []
    lines = [shlex.join(words)]
    if record.overrides:
        laid = json.dumps(record.overrides, sort_keys=True, ensure_ascii=False)
        lines.append(shlex.quote(f"evaluation.nemo_evaluator_config={laid}"))
    return " \\\n  ".join(lines)


BOARD_COLUMNS = (
    "rank",
    "model",
    "metric",
    "value",
    "low",
    "high",
    "count",
    "limit",
    "ended",
    "outdated",
    "page",
)


def board_rows(made: Sequence[Board]) -> Iterator[dict[str, Any]]:
    for board in made:
        for rank, row in enumerate(board.rows, start=1):
            yield {
                "rank": rank,
                "model": row.one.record.model,
                "metric": row.metric.name,
                "value": row.metric.value,
                "low": row.low,
                "high": row.high,
                "count": row.metric.count,
                "limit": board.limit,
                "ended": row.one.record.ended,
                "outdated": board.outdated,
                "page": f"{record_page(row.one)}",
                "task_sha": board.task_sha,
                "params_sha": board.params_sha,
            }


PAIR_COLUMNS = ("task", "metric", "first", "second", "difference", "low", "high", "p", "paired", "verdict")


def every_eval_ever(record: Record) -> dict[str, Any] | None:
    """None where no metric has the bounds that the schema wants."""
    try:
        return exporters.every_eval_ever(record, organization=record.origin.get("repository") or "unknown")
    except UsageError:
        return None


def record_data(one: Published) -> Mapping[str, Any]:
    return to_data(one.record)


def model_rows(published: Sequence[Published]) -> list[dict[str, Any]]:
    rows = []
    for one in published:
        metric = one.record.primary
        between = statistics.interval(metric) or (None, None)
        rows.append(
            {
                "task": one.record.task_id,
                "metric": metric.name,
                "label": metric.label,
                "value": metric.value,
                "low": between[0],
                "high": between[1],
                "count": metric.count,
                "limit": one.record.limit,
                "ended": one.record.ended,
                "page": record_page(one),
            }
        )
    return rows


MODEL_COLUMNS = ("task", "metric", "value", "low", "high", "count", "limit", "ended", "page")
