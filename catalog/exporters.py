"""Records in the formats of others: flat rows, Every Eval Ever, Hugging Face's `.eval_results`.

Sources: eval.schema.json of evaleval/every_eval_ever (version 0.2.1), and the Hub's documentation of eval
results (a YAML list of `dataset{id, task_id}`, `value`, `date`, `source{url, name}`).
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.errors import UsageError
from catalog.record_files import Published
from catalog.records import Metric, Record
from catalog.statistics import CONFIDENCE, interval, stderr

EEE_VERSION = "0.2.1"
COLUMNS = (
    "task", "model", "run", "metric", "value", "stderr", "count", "limit", "partial", "ended", "backend",
    "task_sha", "params_sha",
)  # fmt: skip


def rows(published: Sequence[Published]) -> Iterator[dict[str, Any]]:
    """One for each metric of each record, with COLUMNS as keys."""
    for one in published:
        record = one.record
        for metric in record.metrics:
            yield {
                "task": record.task_id,
                "model": record.model,
                "run": record.run,
                "metric": metric.name,
                "value": metric.value,
                "stderr": stderr(metric),
                "count": metric.count,
                "limit": record.limit,
                "partial": record.partial,
                "ended": record.ended,
                "backend": record.backend,
                "task_sha": record.task_sha,
                "params_sha": record.params_sha,
            }


def every_eval_ever(record: Record, *, organization: str, url: str | None = None) -> dict[str, Any]:
    """One file of the Every Eval Ever data base. Only metrics between 0 and 1 go in: of others nobody knows
    the bounds, which the schema wants. Raises UsageError where none is left.
    """
    bounded = [metric for metric in record.metrics if 0 <= metric.value <= 1 and _is_share(metric)]
    if not bounded:
        raise UsageError(f"{record.task_id}: no metric between 0 and 1, so nothing to export")
    developer, slash, _ = record.model.partition("/")
    return {
        "schema_version": EEE_VERSION,
        "evaluation_id": f"{record.task_id}/{record.model}/{record.run}",
        "retrieved_timestamp": _epoch(record.ended),
        **({"evaluation_timestamp": record.ended} if record.ended else {}),
        "source_metadata": {
            "source_name": record.harness,
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            **({"source_organization_url": url} if url else {}),
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": record.harness, "version": _version(record)},
        "model_info": {
            "name": record.model,
            "id": record.model,
            **({"developer": developer} if slash else {}),
        },
        "evaluation_results": [_eee_result(record, metric) for metric in bounded],
    }


def _eee_result(record: Record, metric: Metric) -> dict[str, Any]:
    params = record.params
    arguments = {
        name: params[given]
        for name, given in (
            ("temperature", "temperature"),
            ("top_p", "top_p"),
            ("max_tokens", "max_new_tokens"),
        )
        if isinstance(params.get(given), int | float)
    }
    return {
        "evaluation_name": record.task_id,
        "source_data": {"dataset_name": record.task, "source_type": "other"},
        "metric_config": {
            "evaluation_description": metric.name,
            "lower_is_better": lower_is_better(metric),
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {"score": metric.value, "uncertainty": _uncertainty(metric)},
        "generation_config": {"generation_args": arguments},
    }


def _uncertainty(metric: Metric) -> dict[str, Any]:
    found: dict[str, Any] = {}
    error, between = stderr(metric), interval(metric)
    if error is not None:
        found["standard_error"] = {"value": error, "method": "analytic"}
    if between is not None:
        low, high = between
        found["confidence_interval"] = {"lower": low, "upper": high, "confidence_level": CONFIDENCE}
    if "stddev" in metric.stats:
        found["standard_deviation"] = metric.stats["stddev"]
    if metric.count is not None:
        found["num_samples"] = metric.count
    return found


def huggingface(published: Sequence[Published], datasets: Mapping[str, str]) -> list[dict[str, Any]]:
    """Entries for a model's `.eval_results/*.yaml`. `datasets` says for a task which Hub data set it is,
    `owner/name` or `owner/name:task_id`; tasks that it doesn't name are left out."""
    entries = []
    for one in published:
        record = one.record
        named = datasets.get(record.task_id) or datasets.get(record.task)
        if named is None:
            continue
        identity, _, task_id = named.partition(":")
        entry: dict[str, Any] = {
            "dataset": {"id": identity, "task_id": task_id or record.task},
            "value": record.primary.value,
        }
        if record.ended:
            entry["date"] = record.ended[:10]
        if record.origin.get("url", "").startswith("https://"):
            entry["source"] = {"url": record.origin["url"], "name": "evaluation run"}
        entries.append(entry)
    return entries


# Whole words of a metric's name, its plural too: `wer` is one, `answer` is not.
_LOWER = re.compile(r"(?:error|latency|loss|perplexity|ppl|toxicity|wer|cer|hallucination)s?")


def lower_is_better(metric: Metric) -> bool:
    """By the metric's name, as results.yml doesn't say."""
    words = re.split(r"[^a-z]+", metric.name.lower())
    return any(_LOWER.fullmatch(word) for word in words)


def _epoch(timestamp: str | None) -> str:
    """Seconds since the epoch as text, as the schema wants it; "0" where nobody knows."""
    if timestamp is None:
        return "0"
    return str(calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")))


def _is_share(metric: Metric) -> bool:
    """Between 0 and 1 in all its samples, as far as it says; a latency of 0.2 seconds is no share."""
    low, high = metric.stats.get("min", 0.0), metric.stats.get("max", 1.0)
    return low >= 0 and high <= 1 and "latency" not in metric.name and "seconds" not in metric.name


def _version(record: Record) -> str:
    names = (record.harness, record.harness.replace("_", "-"), f"evaldock-{record.harness}")
    return next((record.versions[name] for name in names if name in record.versions), "unknown")
