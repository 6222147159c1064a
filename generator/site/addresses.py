"""Where each page of a catalog stands: names that are safe in addresses and file systems, and stay the same.

An address depends on the name alone, so that it survives whatever else is added to the catalog. The only
exception is a catalog with two names that differ in nothing but case (or one that imitates another's
address): a file system that ignores case can't hold both, so all but the lower-case one get a suffix.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from catalog.models import Catalog, Harness, Task
from catalog.names import TASK

ROOT = "task_catalog"
BENCHMARKS = f"{ROOT}/benchmarks-table"
BROWSE = "browse"
SEARCH_SCRIPT = "_static/evaldock-search.js"

# Windows opens a device for these, whatever the suffix; `index` would take a folder's own address.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|index)(?:\..*)?", re.IGNORECASE)


def address_part(name: str) -> str:
    """`name` itself where that is safe, else a readable rest of it and eight digits of its hash."""
    safe = TASK.fullmatch(name) and ".." not in name and not _RESERVED.fullmatch(name)
    return name if safe else _with_hash(name)


def address_parts(names: Iterable[str]) -> dict[str, str]:
    """An address part for each name, no two of them equal even where case is ignored."""
    parts = {name: address_part(name) for name in names}
    taken = Counter(part.casefold() for part in parts.values())
    return {
        name: part if taken[part.casefold()] == 1 or name == part.casefold() else _with_hash(name)
        for name, part in parts.items()
    }


def _with_hash(name: str) -> str:
    rest = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:60].rstrip("-") or "x"
    return f"{rest}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Page names (no suffix, relative to the site's root) by harness name and by task id."""

    harnesses: Mapping[str, str]
    tasks: Mapping[str, str]

    @classmethod
    def of(cls, catalog: Catalog) -> Addresses:
        parts = address_parts(harness.name for harness in catalog.harnesses)
        tasks: dict[str, str] = {}
        for harness in catalog.harnesses:
            task_parts = address_parts(task.name for task in harness.tasks)
            folder = f"{ROOT}/tasks/{parts[harness.name]}"
            tasks |= {task.id: f"{folder}/{task_parts[task.name]}" for task in harness.tasks}
        return cls({name: f"{ROOT}/harnesses/{part}" for name, part in parts.items()}, tasks)

    def harness(self, harness: Harness) -> str:
        return self.harnesses[harness.name]

    def task(self, task: Task) -> str:
        return self.tasks[task.id]
