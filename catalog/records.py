"""A published result as a value: `Record`, and where its file lies.

One file per run, task and model, `results/<harness>/<task>/<model>/<run>.json`, so that concurrent publishers
never write the same file. The JSON Schema is `catalog/schema/record.schema.json`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import UsageError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number. `name` is the path in results.yml below `tasks` or `groups`, joined by `/`
    (`mmath_en/accuracy/micro`); `stderr` and `count` are None where the harness gave none."""

    name: str
    value: float
    count: int | None = None
    stderr: float | None = None
    stats: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For people: without the task's name, where it begins and ends with it (`chat/accuracy/chat`)."""
        first, *middle = self.name.split("/")
        return "/".join(middle[:-1]) if len(middle) > 1 and middle[-1] == first else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One published result.

    `task_sha` says whether it is still the same task (image digest or locked packages, command template,
    defaults), `params_sha` whether two runs asked the same question. `limit` is the number or fraction of
    samples it was cut to (None: all). `started` and `ended` are RFC 3339 in UTC. `origin` says who ran it:
    `{kind: shell | workflow, url?, repository?, revision?}`. Never holds a key or an endpoint's credentials.
    """

    harness: str
    task: str
    model: str
    run: str
    task_sha: str
    params_sha: str
    metrics: tuple[Metric, ...]
    endpoint_type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = None
    packages: tuple[str, ...] = ()
    limit: float | None = None
    partial: bool = False
    started: str | None = None
    ended: str | None = None
    backend: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def task_id(self) -> str:
        return f"{self.harness}.{self.task}"

    @property
    def comparable(self) -> tuple[str, str, float | None]:
        """Records with the same value asked the same question of the same task."""
        return self.task_sha, self.params_sha, self.limit

    @property
    def primary(self) -> Metric:
        """The metric that stands for the whole: the first called accuracy or score, else the first."""
        named = [m for m in self.metrics if re.search(r"accuracy|score|pass|exact_match", m.name.lower())]
        return (named or list(self.metrics))[0]

    def metric(self, name: str) -> Metric | None:
        """By its whole name, or by a part between slashes that only one has."""
        exact = [m for m in self.metrics if m.name == name]
        parts = exact or [m for m in self.metrics if name in m.name.split("/")]
        return parts[0] if len(parts) == 1 else None


def to_data(record: Record) -> dict[str, Any]:
    """What lies in the file: without what is empty, so that a file says what is known."""
    data = {"schema": SCHEMA, **dataclasses.asdict(record)}
    data["metrics"] = [
        {key: value for key, value in metric.items() if value not in (None, {})} for metric in data["metrics"]
    ]
    return {key: value for key, value in data.items() if value not in (None, {}, (), [])}


def from_data(data: Any) -> Record:
    """Raises UsageError naming the field that is wrong. Unknown fields are passed over: a newer evaldock may
    have written them."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError(f"not a result record of schema {SCHEMA}")
    fields = {f.name: f for f in dataclasses.fields(Record)}
    given = {name: data[name] for name in fields if name in data}
    for name in ("harness", "task", "model", "run", "task_sha", "params_sha", "endpoint_type"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise UsageError(f"{name}: expected a text")
    for name in ("params", "overrides", "versions", "origin"):
        if not isinstance(given.get(name, {}), dict):
            raise UsageError(f"{name}: expected a mapping")
    given["metrics"] = tuple(_metrics(given.get("metrics")))
    given["packages"] = tuple(str(package) for package in given.get("packages", ()))
    limit = given.get("limit")
    if limit is not None and number(limit) is None:
        raise UsageError("limit: expected a number")
    return Record(**given)


def _metrics(listed: Any) -> Iterator[Metric]:
    if not isinstance(listed, list) or not listed:
        raise UsageError("metrics: expected a list with at least one")
    for index, entry in enumerate(listed):
        value = number(entry.get("value")) if isinstance(entry, dict) else None
        if value is None or not isinstance(entry.get("name"), str):
            raise UsageError(f"metrics[{index}]: expected a name and a number as its value")
        stats = entry.get("stats") or {}
        if not isinstance(stats, dict):
            raise UsageError(f"metrics[{index}].stats: expected a mapping")
        count = number(entry.get("count"))
        yield Metric(
            name=entry["name"],
            value=value,
            count=int(count) if count is not None else None,
            stderr=number(entry.get("stderr")),
            stats={str(k): known for k, v in stats.items() if (known := number(v)) is not None},
        )


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
