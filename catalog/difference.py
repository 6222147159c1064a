"""What changed between two states of a catalog, task by task and field by field. Pure.

A rename is found by equal content: the same task under another name, or a harness most of whose tasks are the
same. Where several could be meant, they stand as removed and added.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from catalog.models import Harness, Task
from catalog.selection import Listed


class Absent(Enum):
    """The value of a field that one side doesn't have; None is a value."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`path` is dotted (`config.params.top_p`), relative to the effective task or to the harness."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Renamed:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Changed:
    name: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Names of harnesses, or ids of tasks. Something renamed may stand in `changed` too, by its new name."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    changed: tuple[Changed, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.renamed or self.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A command that all tasks of a harness share is a field of the harness, not of each of its tasks."""

    harnesses: Changes = field(default_factory=Changes)
    tasks: Changes = field(default_factory=Changes)

    def __bool__(self) -> bool:
        return bool(self.harnesses or self.tasks)


_Key = tuple[str, str]  # name of the harness (the new one where it was renamed), name of the task


def compare(old: Sequence[Harness], new: Sequence[Harness]) -> Difference:
    """Names must be unique on either side. Results are in the order of `new`, removals in that of `old`."""
    before = {harness.name: harness for harness in old}
    after = {harness.name: harness for harness in new}
    renames = _renamed_harnesses(
        [h for name, h in before.items() if name not in after],
        [h for name, h in after.items() if name not in before],
    )
    before = {renames.get(name, name): harness for name, harness in before.items()}
    return Difference(
        harnesses=Changes(
            added=tuple(name for name in after if name not in before),
            removed=tuple(name for name in before if name not in after),
            renamed=tuple(Renamed(one, other) for one, other in renames.items()),
            changed=_changed(
                (name, _harness_record(before[name]), _harness_record(harness))
                for name, harness in after.items()
                if name in before
            ),
        ),
        tasks=_compare_tasks(_by_key(before), _by_key(after)),
    )


def _by_key(harnesses: Mapping[str, Harness]) -> dict[_Key, Listed]:
    return {(name, t.name): Listed(harness, t) for name, harness in harnesses.items() for t in harness.tasks}


def _compare_tasks(before: Mapping[_Key, Listed], after: Mapping[_Key, Listed]) -> Changes:
    removed = [key for key in before if key not in after]
    added = [key for key in after if key not in before]
    moved = _moved_tasks(before, after, removed, added)
    arrived = set(moved.values())
    with_harness = {key: key for key in after if key in before and before[key].task.id != after[key].task.id}
    return Changes(
        added=tuple(after[key].task.id for key in added if key not in arrived),
        removed=tuple(before[key].task.id for key in removed if key not in moved),
        renamed=tuple(
            Renamed(before[o].task.id, after[n].task.id) for o, n in (with_harness | moved).items()
        ),
        changed=_changed(
            (listed.task.id, *_task_records(before[key], listed))
            for key, listed in after.items()
            if key in before
        ),
    )


def _renamed_harnesses(removed: Sequence[Harness], added: Sequence[Harness]) -> dict[str, str]:
    """Old name → new name, where more than half of the tasks of both are the same in name and content."""
    contents = {h.name: {(task.name, _content(task)) for task in h.tasks} for h in (*removed, *added)}
    found: dict[str, str] = {}
    for harness in removed:
        mine = contents[harness.name]
        for other in added:
            theirs = contents[other.name]
            if other.name not in found.values() and 2 * len(mine & theirs) > max(len(mine), len(theirs)):
                found[harness.name] = other.name
                break
    return found


def _moved_tasks(
    before: Mapping[_Key, Listed],
    after: Mapping[_Key, Listed],
    removed: Iterable[_Key],
    added: Iterable[_Key],
) -> dict[_Key, _Key]:
    """Pairs of equal content: first those that kept their name in another harness, then those that didn't."""
    moved: dict[_Key, _Key] = {}
    for named in (True, False):
        arrived = set(moved.values())
        left = _grouped((key for key in removed if key not in moved), before, named=named)
        right = _grouped((key for key in added if key not in arrived), after, named=named)
        for content, olds in left.items():
            news = right.get(content, [])
            if len(olds) == len(news) == 1:
                moved[olds[0]] = news[0]
    return moved


def _grouped(keys: Iterable[_Key], tasks: Mapping[_Key, Listed], *, named: bool) -> dict[str, list[_Key]]:
    groups: dict[str, list[_Key]] = defaultdict(list)
    for key in keys:
        groups[(f"{key[1]}\0" if named else "") + _content(tasks[key].task)].append(key)
    return groups


_USES_TYPE = re.compile(r"config\W+type")


def _content(task: Task) -> str:
    """Everything but the names. The type is the task's name, but also what is run if the command uses it."""
    config = dict(task.defaults.get("config") or {})
    if not _USES_TYPE.search(task.command):
        config.pop("type", None)
    kept = {k: v for k, v in task.defaults.items() if k not in ("framework_name", "pkg_name")}
    return canonical([task.description, task.internal, kept | {"config": config}])


def canonical(value: Any) -> str:
    """Equal exactly for equal data: 1, 1.0 and true differ, the order of keys doesn't."""
    return json.dumps(value, sort_keys=True)


def _harness_record(harness: Harness) -> dict[str, Any]:
    image = harness.image
    return {
        "full_name": harness.full_name,
        "description": harness.description,
        "url": harness.url,
        "pkg_name": harness.pkg_name,
        "entry": harness.entry,
        "image": {
            "container": image.container,
            "digest": image.digest,
            "platform": image.platform,
            "platforms": list(image.platforms),
            "complete": image.complete,
        },
        "command": harness.command,
        "packages": list(harness.packages),
        "abilities": list(harness.abilities),
        "state": str(harness.state),
        "other": harness.other,
    }


def _task_records(old: Listed, new: Listed) -> tuple[dict[str, Any], dict[str, Any]]:
    # What every task of a harness shares is told once, at the harness.
    shared = all(one.task.command == one.harness.command for one in (old, new))
    hidden = {"framework_name", "pkg_name", *(["command"] if shared else [])}
    first, second = (
        {
            "title": one.task.title,
            "description": one.task.description,
            "internal": one.task.internal,
            "dates": list(one.task.dates),
            "other": one.task.other,
            **{key: value for key, value in one.task.defaults.items() if key not in hidden},
        }
        for one in (old, new)
    )
    return first, second


def _changed(records: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> tuple[Changed, ...]:
    found = ((name, tuple(field_changes(old, new))) for name, old, new in records)
    return tuple(Changed(name, fields) for name, fields in found if fields)


def field_changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[FieldChange]:
    """Mappings are compared key by key; lists and scalars as wholes."""
    for key in dict.fromkeys([*old, *new]):
        path = f"{prefix}{_step(str(key))}"
        one, other = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from field_changes(one, other, f"{path}.")
        elif ABSENT in (one, other) or canonical(one) != canonical(other):
            yield FieldChange(path, one, other)


def _step(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key) else json.dumps(key, ensure_ascii=False)
