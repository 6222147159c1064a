"""The defaults of a task as rows: what a person reads and overrides, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.models import Task

# Shown elsewhere on the page, or not for anybody to override.
_NOT_ROWS = {("command",), ("config", "type"), ("framework_name",), ("pkg_name",)}


@dataclass(frozen=True, slots=True)
class DefaultRow:
    """`key` is the dotted path from the effective task (`config.params.temperature`)."""

    key: str
    value: Any

    @property
    def is_set(self) -> bool:
        return self.value is not None

    @property
    def text(self) -> str:
        """A string as it is (quoted when empty or with spaces at its ends), anything else as JSON."""
        if isinstance(self.value, str) and self.value and self.value == self.value.strip():
            return self.value
        return json_text(self.value)


def json_text(value: Any) -> str:
    # Dates reach an effective task only as text; `default` keeps a value nobody foresaw from ending a build.
    return json.dumps(value, ensure_ascii=False, default=str)


def default_rows(task: Task) -> list[DefaultRow]:
    """Parameters first, as the most often overridden, then the endpoint, then what is left."""
    rows = [DefaultRow(".".join(path), value) for path, value in _leaves((), task.defaults)]
    return sorted(rows, key=lambda row: _order(row.key))


def _order(key: str) -> int:
    if key.startswith("config.params.extra."):
        return 1
    if key.startswith("config.params."):
        return 0
    return 2 if key.startswith("target.") else 3


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    elif path not in _NOT_ROWS:
        yield path, value
