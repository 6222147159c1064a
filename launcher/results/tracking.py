"""Records to experiment trackers: MLflow and Weights & Biases, each through its own client."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from catalog.errors import UsageError
from catalog.record_files import Published
from catalog.records import Record

NOTHING: Mapping[str, str] = MappingProxyType({})


def log(
    tracker: str, published: Sequence[Published], project: str, settings: Mapping[str, str] = NOTHING
) -> None:
    """One tracked run per record. `settings` are further ones of the tracker's own. Raises UsageError where
    the tracker's package isn't installed."""
    try:
        client = importlib.import_module(tracker)
    except ModuleNotFoundError:
        raise UsageError(f"{tracker} is not installed", hint=f"pip install 'evaldock[{tracker}]'") from None
    for one in published:
        _LOGGERS[tracker](client, one.record, project, settings)


def _mlflow(client: Any, record: Record, project: str, _: Mapping[str, str]) -> None:
    client.set_experiment(project)
    with client.start_run(run_name=f"{record.task_id} {record.model} {record.run}"):
        client.set_tags(_labels(record))
        client.log_params({key: str(value)[:500] for key, value in record.params.items()})
        # MLflow's metric names take letters, digits and _-./ alone.
        client.log_metrics({metric.name.replace("@", "_at_"): metric.value for metric in record.metrics})


def _wandb(client: Any, record: Record, project: str, settings: Mapping[str, str]) -> None:
    run = client.init(
        **settings,
        project=project,
        name=f"{record.task_id} {record.model}",
        id=record.run,
        config={**_labels(record), **record.params},
        resume="allow",
    )
    run.log({metric.name: metric.value for metric in record.metrics})
    run.finish()


def _labels(record: Record) -> dict[str, str]:
    return {
        "task": record.task_id,
        "model": record.model,
        "run": record.run,
        "task_sha": record.task_sha,
        "params_sha": record.params_sha,
        "backend": record.backend,
    }


_LOGGERS: Mapping[str, Callable[[Any, Record, str, Mapping[str, str]], None]] = {
    "mlflow": _mlflow,
    "wandb": _wandb,
}
