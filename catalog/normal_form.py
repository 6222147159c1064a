"""The normal form of a harness: its command and defaults once, each task as what differs.

Pure: `to_data` makes plain data (what an IR file holds), `from_data` the effective tasks again. They are each
other's inverse: a difference holds only what merges back to the very same task. The merge here is simpler
than that of framework.yml: a mapping is merged into a mapping, anything else, null too, replaces. Mappings
are dicts, as JSON makes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog import names
from catalog.models import Task

VERSION = 1


class Malformed(ValueError):
    """Data that isn't a normal form; the message has the key path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A harness without where it came from: what an IR file holds. `command` is None when its tasks
    don't share one."""

    name: str
    pkg_name: str
    tasks: tuple[Task, ...]
    full_name: str | None = None
    description: str | None = None
    url: str | None = None
    command: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict)


def merge(base: Mapping[str, Any], difference: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `difference` laid over it. Shares what neither changes: treat both as read-only."""
    merged = dict(base)
    for key, value in difference.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def same(left: Any, right: Any) -> bool:
    """Equal and of the same types all the way down: 1, 1.0 and true differ, 0.0 and -0.0 too."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and repr(left) == repr(right)


def difference(base: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """What `merge(base, …)` needs to give `whole`, keys sorted. `base` holds no key that
    `whole` lacks."""
    found: dict[str, Any] = {}
    for key in sorted(whole):
        value = whole[key]
        if key not in base:
            found[key] = _sorted(value)
        elif isinstance(value, dict) and isinstance(base[key], dict):
            below = difference(base[key], value)
            if below:
                found[key] = below
        elif not same(base[key], value):
            found[key] = _sorted(value)
    return found


def common(wholes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of them hold, keys sorted: for each such key the value that most have (at a tie the first).

    A key that is a mapping in some and something else in others is left out, as no merge undoes a mapping.
    """
    base: dict[str, Any] = {}
    for key in sorted(set.intersection(*(set(whole) for whole in wholes)) if wholes else ()):
        values = [whole[key] for whole in wholes]
        mappings = [value for value in values if isinstance(value, dict)]
        if len(mappings) == len(values):
            base[key] = common(mappings)
        elif not mappings:
            base[key] = _sorted(_most_frequent(values))
    return base


def _most_frequent(values: Sequence[Any]) -> Any:
    spellings = [_spelling(value) for value in values]
    winner = Counter(spellings).most_common(1)[0][0]
    return values[spellings.index(winner)]


def _spelling(value: Any) -> str:
    return repr(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def to_data(definition: Definition) -> dict[str, Any]:
    """The normal form: equal definitions give equal data in equal order."""
    base = common([task.defaults for task in definition.tasks])
    command = base.pop("command", None)
    base.get("config", {}).pop("type", None)
    data: dict[str, Any] = {"version": VERSION, "harness": definition.name, "pkg_name": definition.pkg_name}
    for key in ("full_name", "description", "url"):
        data |= _present(key, getattr(definition, key))
    if definition.other:
        data["other"] = _sorted(definition.other)
    data |= _present("command", command)
    data["defaults"] = base
    shared = base if command is None else base | {"command": command}
    data["tasks"] = [_task_data(task, shared) for task in definition.tasks]
    return data


def _task_data(task: Task, shared: Mapping[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {"name": task.name} | _present("title", task.title)
    data["description"] = list(task.description_parts) or task.description
    if task.internal:
        data["internal"] = True
    if task.dates:
        data["dates"] = list(task.dates)
    if task.other:
        data["other"] = _sorted(task.other)
    differs = difference(shared, task.defaults)
    # The name says it; written only by a definition whose tasks are named otherwise.
    config = differs.get("config")
    if isinstance(config, dict) and config.get("type") == task.name:
        del config["type"]
        if not config and "config" in shared:
            del differs["config"]
    if differs:
        data["differs"] = differs
    return data


def _present(key: str, value: Any) -> dict[str, Any]:
    return {} if value is None else {key: value}


def from_data(data: Any) -> Definition:
    """Expands a normal form. Raises Malformed for data of another shape, whoever wrote it."""
    top = _need(data, dict, "the file")
    if top.get("version") != VERSION:
        raise Malformed(f"version: expected {VERSION}, found {top.get('version')!r:.40}")
    name, pkg_name = _name(top, "harness", names.HARNESS), _text(top, "pkg_name")
    shared = dict(_need(top.get("defaults"), dict, "defaults"))
    if "command" in top:
        shared["command"] = _text(top, "command")
    items = _need(top.get("tasks"), list, "tasks")
    tasks = tuple(_task(name, item, shared, f"tasks[{at}]") for at, item in enumerate(items))
    commands = {task.command for task in tasks}
    return Definition(
        name=name,
        pkg_name=pkg_name,
        tasks=tasks,
        full_name=_text_or_none(top, "full_name"),
        description=_text_or_none(top, "description"),
        url=_text_or_none(top, "url"),
        command=commands.pop() if len(commands) == 1 else None,
        other=_need(top.get("other", {}), dict, "other"),
    )


def _task(harness: str, item: Any, shared: Mapping[str, Any], path: str) -> Task:
    data = _need(item, dict, path)
    name = _name(data, "name", names.TASK, path)
    differs = _need(data.get("differs", {}), dict, f"{path}.differs")
    defaults = merge(shared, differs)
    config = _need(defaults.get("config", {}), dict, f"{path}.differs.config")
    if "type" not in config:
        defaults["config"] = {**config, "type": name}
    _need(defaults.get("command"), str, f"{path}: command")
    description = data.get("description")
    parts = _texts(description, f"{path}.description") if isinstance(description, list) else ()
    return Task(
        harness=harness,
        name=name,
        description="\n".join(parts) if parts else _text(data, "description", path),
        defaults=defaults,
        title=_text_or_none(data, "title", path),
        internal=data.get("internal") is True,
        description_parts=parts,
        dates=_texts(data.get("dates", []), f"{path}.dates"),
        other=_need(data.get("other", {}), dict, f"{path}.other"),
    )


def _name(data: Mapping[str, Any], key: str, allowed: re.Pattern[str], path: str = "") -> str:
    name = _text(data, key, path)
    if not allowed.fullmatch(name):
        raise Malformed(f"{f'{path}.' if path else ''}{key}: not a name: {name!r:.80}")
    return name


def _texts(value: Any, path: str) -> tuple[str, ...]:
    items: Iterable[Any] = _need(value, list, path)
    return tuple(_need(item, str, f"{path}[{at}]") for at, item in enumerate(items))


def _text(data: Mapping[str, Any], key: str, path: str = "") -> str:
    return str(_need(data.get(key), str, f"{path}.{key}" if path else key))


def _text_or_none(data: Mapping[str, Any], key: str, path: str = "") -> str | None:
    return None if data.get(key) is None else _text(data, key, path)


def _need(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind):
        wanted = "a mapping" if kind is dict else "a list" if kind is list else "text"
        raise Malformed(f"{path}: expected {wanted}, found {type(value).__name__}")
    return value
