"""Records for a synthetic catalog: several models, a limited sample, an outdated task, hostile names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog import record_files, store
from catalog.identity import params_sha, task_sha
from catalog.models import Catalog
from catalog.records import Metric, Record

HOSTILE = '<script>alert("x")</script>{{ 7*7 }}'


def measured(catalog: Catalog, model: str, value: float, **more: Any) -> Record:
    harness = catalog.harnesses[0]
    task = harness.tasks[0]
    made = Record(
        harness=harness.name,
        task=task.name,
        model=model,
        run=f"run-{model[-1]}",
        task_sha=task_sha(harness, task),
        params_sha=params_sha(task, {}),
        metrics=(Metric(name=f"{task.name}/accuracy/{task.name}", value=value, count=100),),
        endpoint_type="chat",
        ended="2026-01-05T00:00:00Z",
        backend="docker",
    )
    return replace(made, **more)


def publish_some(root: Path) -> None:
    """Results of the first task of the first harness."""
    catalog = store.load(root)
    records = [
        measured(catalog, "org/a", 0.9),
        measured(catalog, "org/b", 0.2),
        measured(catalog, "org/a", 0.8, run="earlier", ended="2026-01-01T00:00:00Z"),
        measured(catalog, "org/c", 1.0, limit=5.0, overrides={"config": {"params": {"limit_samples": 5}}}),
        measured(catalog, "org/d", 0.5, task_sha="0" * 64),
        measured(
            catalog, HOSTILE, 0.4, run="hostile", origin={"kind": HOSTILE, "url": "javascript:alert(1)"}
        ),
    ]
    for record in records:
        record_files.write(root, record, {f"q{n}": float(n < record.primary.value * 100) for n in range(100)})
