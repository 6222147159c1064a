"""A published result as a value: `Record`, and where its file lies.

One file per run, task and model, `results/<harness>/<task>/<model>/<run>.json`, so that concurrent publishers
never write the same file. The JSON Schema is `catalog/schema/record.schema.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    samples: str | None = None

    @property
    def task_id(self) -> str:
        return f"{self.harness}.{self.task}"

    @property
    def comparable(self) -> tuple[str, str, float | None]:
        """Records with the same value asked the same question of the same task."""
        return self.task_sha, self.params_sha, self.limit
