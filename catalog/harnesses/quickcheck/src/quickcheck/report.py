"""From records to results.yml: what a launcher and a leaderboard read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

RESULTS = "results.yml"
NEEDS = ("score", "latency", "usage", "tries")


def results(task: str, records: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    """`accuracy` counts an item that failed for good as 0: an endpoint that doesn't answer must not look
    better than one that answers wrongly. Latencies are in seconds."""
    scores = [0.0 if r.get("error") else float(r.get("score", 0.0)) for r in records]
    latencies = [float(r["latency"]) for r in records if "latency" in r]
    errors = [1.0 if r.get("error") else 0.0 for r in records]
    generated = [_tokens(r.get("usage")) for r in records]
    metrics = {
        "accuracy": _metric(task, scores),
        "errors": _metric(task, errors),
    }
    if latencies:
        metrics["latency_seconds"] = _metric(task, latencies)
        metrics["latency_p95_seconds"] = {
            "scores": {task: {"value": _percentile(latencies, 0.95), "stats": {}}}
        }
    if any(generated):
        metrics["completion_tokens"] = _metric(task, generated)
    return {"config": dict(config), "results": {"tasks": {task: {"metrics": metrics}}}}


def write(directory: Path, content: Mapping[str, Any]) -> Path:
    """Replaces results.yml in one step, so that half a file is never read."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / RESULTS
    waiting = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    waiting.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    waiting.replace(path)
    return path


def _tokens(usage: Any) -> float:
    """Of a reply, which may say anything."""
    count = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return float(count) if isinstance(count, int) and 0 <= count < 1 << 53 else 0.0


def _metric(task: str, values: Sequence[float]) -> dict[str, Any]:
    count, total = len(values), math.fsum(values)
    mean = total / count if count else 0.0
    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1) if count > 1 else 0.0
    stats = {
        "count": count,
        "sum": total,
        "sum_squared": math.fsum(v * v for v in values),
        "min": min(values, default=0.0),
        "max": max(values, default=0.0),
        "mean": mean,
        "variance": variance,
        "stddev": math.sqrt(variance),
        "stderr": math.sqrt(variance / count) if count else 0.0,
    }
    return {"scores": {task: {"value": mean, "stats": stats}}}


def _percentile(values: Sequence[float], part: float) -> float:
    """The nearest-rank percentile: always one of the values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
