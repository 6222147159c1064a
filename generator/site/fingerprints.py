"""Short fingerprints of what a page is made from, to tell without rendering whether it would change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import catalog
from catalog.models import Catalog, Harness, Task
from generator.site.settings import HERE, Settings


def fingerprint(*parts: Any) -> str:
    """Of JSON data, dataclasses and paths; the order of mappings counts."""
    text = json.dumps(parts, default=_plain, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)


@cache
def of_our_code() -> str:
    """Of all that turns records into pages: this package with its templates, and what renders commands."""
    shared = Path(catalog.__file__).parent
    return of_files([*HERE.rglob("*"), *shared.glob("*.py")])


def of_files(paths: Iterable[Path]) -> str:
    """Of their names and bytes, wherever they are. Compiled Python doesn't count."""
    whole = hashlib.sha256()
    for path in sorted(paths, key=str):
        if path.is_file() and path.suffix != ".pyc":
            whole.update(f"{path.name}\0".encode())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Records:
    """Fingerprints of a catalog's records. `harnesses` leave their tasks out."""

    tasks: Mapping[str, str]
    harnesses: Mapping[str, str]
    with_tasks: Mapping[str, str]
    whole: str

    @classmethod
    def of(cls, catalog: Catalog, settings: Settings) -> Records:
        tasks = {task.id: _of_task(task) for task in catalog.tasks}
        harnesses = {harness.name: _of_harness(harness, settings) for harness in catalog.harnesses}
        with_tasks = {
            harness.name: fingerprint(harnesses[harness.name], [tasks[task.id] for task in harness.tasks])
            for harness in catalog.harnesses
        }
        without = [entry for entry in catalog.entries if not entry.harnesses]
        return cls(tasks, harnesses, with_tasks, fingerprint(with_tasks, without))


def _of_task(task: Task) -> str:
    return fingerprint(task)


def _of_harness(harness: Harness, settings: Settings) -> str:
    known = {field.name: getattr(harness, field.name) for field in fields(harness) if field.name != "tasks"}
    return fingerprint(known, settings, of_our_code())
