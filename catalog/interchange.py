"""Catalogs of NeMo Evaluator Launcher (NEL): its `all_tasks_irs.yaml`, read and written. Pure.

That file holds `metadata` (sha256 of mapping.toml, counts), `harnesses` (image, digest, architecture) and
`tasks`, each with all of its defaults. It says nothing of where a definition was found in an image, so what
is read from it stands as imported until `evaldock sync` has read the image itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog import names
from catalog.errors import InvalidInput
from catalog.models import Catalog, Entry, EntryState, Harness, Image, MappingEntry, Task
from catalog.pointers import put_dates, take_dates
from catalog.yaml_reading import YamlMistakes, read_yaml
from catalog.yaml_text import dump

IMPORTED = "imported from NeMo Evaluator Launcher; the image itself was not read"
MISSING = "the imported file has no harness with this container"

# The architectures that its label for an image stands for.
_ARCHES: Mapping[str, tuple[str, ...]] = {
    "amd": ("linux/amd64",),
    "arm": ("linux/arm64",),
    "multiarch": ("linux/amd64", "linux/arm64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A read `all_tasks_irs.yaml`. `mapping_sha256` (hex) is that of the mapping.toml it was made from; its
    harnesses have the entry `""` until `assign` finds theirs."""

    mapping_sha256: str
    harnesses: tuple[Harness, ...]


def to_nel(catalog: Catalog) -> str:
    """The text of an `all_tasks_irs.yaml`. Internal tasks stay out, as they do there."""
    tasks = [task for task in catalog.tasks if not task.internal]
    data = {
        "metadata": {
            "mapping_toml_checksum": f"sha256:{catalog.mapping_sha256}",
            "num_tasks": len(tasks),
            "num_harnesses": len(catalog.harnesses),
        },
        "harnesses": [_harness_data(harness) for harness in catalog.harnesses],
        "tasks": [_task_data(task) for task in tasks],
    }
    return dump(data)


def _harness_data(harness: Harness) -> dict[str, Any]:
    return {
        "name": harness.name,
        "description": harness.description or "",
        "full_name": harness.full_name,
        "url": harness.url,
        "container": harness.image.container,
        "container_digest": harness.image.digest or None,
        "arch": _label(harness.image.architectures),
    }


def _label(architectures: Sequence[str]) -> str | None:
    if {"amd64", "arm64"} <= set(architectures):
        return "multiarch"
    return "amd" if "amd64" in architectures else "arm" if "arm64" in architectures else None


def _task_data(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "description": list(task.description_parts) or task.description,
        "harness": task.harness,
        "defaults": put_dates(task.defaults, task.dates),
    }


def from_nel(data: bytes, place: str) -> Imported:
    """Reads an `all_tasks_irs.yaml`. Raises InvalidInput with every mistake."""
    try:
        value = read_yaml(data).value
    except YamlMistakes as error:
        raise InvalidInput("not YAML of plain data", error.problems, place=place) from None
    reader = _Reader()
    imported = reader.imported(value)
    if reader.problems:
        raise InvalidInput("not an all_tasks_irs.yaml", reader.problems[:100], place=place)
    return imported


def assign(
    imported: Imported, wanted: Sequence[MappingEntry], known: Mapping[str, Entry]
) -> tuple[list[Entry], list[Harness]]:
    """The entries of a catalog that has `wanted` as its mapping, and the harnesses that none of them names.

    A harness belongs to the entry with its container. An entry without one keeps what is `known` of it.
    """
    waiting: dict[str, list[Harness]] = {}
    for harness in imported.harnesses:
        waiting.setdefault(harness.image.container, []).append(harness)
    entries: list[Entry] = []
    for mapping in wanted:
        found = waiting.pop(mapping.container, [])
        if found:
            entries.append(_entry(mapping, found))
        else:
            missing = Entry(mapping=mapping, state=EntryState.STALE, reason=MISSING)
            entries.append(known.get(mapping.key, missing))
    return entries, [harness for harnesses in waiting.values() for harness in harnesses]


def _entry(mapping: MappingEntry, harnesses: Sequence[Harness]) -> Entry:
    owned = tuple(
        replace(each, entry=mapping.key, packages=mapping.packages, abilities=mapping.abilities)
        for each in harnesses
    )
    return Entry(
        mapping=mapping,
        state=EntryState.IMPORTED,
        reason=IMPORTED,
        image=owned[0].image,
        harnesses=owned,
    )


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def imported(self, value: Any) -> Imported:
        top = self._get({"file": value}, "file", dict, "") or {}
        metadata = self._get(top, "metadata", dict, "") or {}
        checksum = self._get(metadata, "mapping_toml_checksum", str, "metadata.") or ""
        tasks: dict[str, list[Task]] = {}
        for name, task in self._tasks(top):
            tasks.setdefault(name, []).append(task)
        harnesses = tuple(self._harnesses(top, tasks))
        for name in tasks.keys() - {harness.name for harness in harnesses}:
            self.problems.append(f"tasks: harness {name!r} is not among the harnesses")
        return Imported(mapping_sha256=checksum.removeprefix("sha256:"), harnesses=harnesses)

    def _harnesses(self, top: Mapping[str, Any], tasks: Mapping[str, list[Task]]) -> Iterator[Harness]:
        seen: set[str] = set()
        for at, data in enumerate(self._get(top, "harnesses", list, "") or []):
            path = f"harnesses[{at}]."
            if not isinstance(data, dict):
                self.problems.append(f"{path[:-1]}: expected a mapping")
                continue
            name = self._name(data, "name", names.HARNESS, path) or ""
            if name in seen:
                self.problems.append(f"{path}name: {name!r} stands twice")
            seen.add(name)
            yield self._harness(name, data, path, tuple(tasks.get(name, ())))

    def _harness(self, name: str, data: Mapping[str, Any], path: str, tasks: tuple[Task, ...]) -> Harness:
        arch = self._get(data, "arch", str, path, optional=True)
        if arch is not None and arch not in _ARCHES:
            self.problems.append(f"{path}arch: expected one of {', '.join(_ARCHES)}, found {arch!r:.40}")
        platforms = _ARCHES.get(arch or "", ())
        commands = {task.command for task in tasks}
        return Harness(
            name=name,
            entry="",
            pkg_name=str(tasks[0].defaults["pkg_name"]) if tasks else name.replace("-", "_"),
            image=Image(
                container=self._get(data, "container", str, path) or "",
                digest=self._get(data, "container_digest", str, path, optional=True) or "",
                manifest_digest="",
                platform=platforms[0] if len(platforms) == 1 else "",
                platforms=platforms,
                complete=False,
            ),
            sources=(),
            tasks=tasks,
            full_name=self._get(data, "full_name", str, path, optional=True),
            description=self._get(data, "description", str, path, optional=True),
            url=self._get(data, "url", str, path, optional=True),
            command=commands.pop() if len(commands) == 1 else None,
            state=EntryState.IMPORTED,
            reason=IMPORTED,
        )

    def _tasks(self, top: Mapping[str, Any]) -> Iterator[tuple[str, Task]]:
        for at, data in enumerate(self._get(top, "tasks", list, "") or []):
            path = f"tasks[{at}]."
            before = len(self.problems)
            if not isinstance(data, dict):
                self.problems.append(f"{path[:-1]}: expected a mapping")
                continue
            name = self._name(data, "name", names.TASK, path)
            harness = self._get(data, "harness", str, path)
            defaults = self._get(data, "defaults", dict, path) or {}
            for key in ("command", "framework_name", "pkg_name"):
                self._get(defaults, key, str, f"{path}defaults.")
            config = self._get(defaults, "config", dict, f"{path}defaults.") or {}
            self._get(config, "type", str, f"{path}defaults.config.")
            parts = self._description(data, path)
            if len(self.problems) > before or name is None or harness is None:
                continue
            plain, dates = take_dates(defaults)
            yield (
                harness,
                Task(
                    harness=harness,
                    name=name,
                    description="\n".join(parts),
                    defaults=plain,
                    description_parts=tuple(parts) if isinstance(data.get("description"), list) else (),
                    dates=dates,
                ),
            )

    def _description(self, data: Mapping[str, Any], path: str) -> list[str]:
        value = data.get("description")
        found = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(part) is str for part in found):
            self.problems.append(f"{path}description: expected text or a list of texts")
            return []
        return found

    def _name(self, data: Mapping[str, Any], key: str, allowed: re.Pattern[str], path: str) -> str | None:
        name: str | None = self._get(data, key, str, path)
        if name is not None and not allowed.fullmatch(name):
            self.problems.append(f"{path}{key}: not a name that can be an address: {name!r:.80}")
        return name

    def _get(
        self, data: Mapping[str, Any], key: str, kind: type, path: str, *, optional: bool = False
    ) -> Any:
        value = data.get(key)
        if isinstance(value, kind):
            return value
        if value is not None or not optional:
            wanted = "text" if kind is str else "a list" if kind is list else "a mapping"
            self.problems.append(f"{path}{key}: expected {wanted}, found {type(value).__name__}")
        return None
