"""framework.yml: what the authors of a harness declare, and the tasks that follow from it.

`framework` names the harness, `defaults` is what its tasks share, each of `evaluations` lays its own
`defaults` over that (`catalog.merging`). The result, with the harness's names in it, is the effective task.
Its name is `config.type`. Of two definitions of one name the last counts, in the place of the first.

All mistakes of a file are told at once, each with its key path; unknown keys are kept and warned about.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog import names
from catalog.checked_values import CheckedValues
from catalog.definition_fields import (
    CAPABILITIES,
    DEFAULTS,
    LISTED_ENDPOINT_TYPES,
    without_nulls,
)
from catalog.errors import InvalidInput
from catalog.merging import merge_defaults
from catalog.models import Task
from catalog.normal_form import Definition
from catalog.pointers import take_dates
from catalog.rendering import check_example, check_template
from catalog.yaml_reading import Document, Path, YamlMistakes, read_yaml

MAX_BYTES = 1 << 20
# Evaluations times values of the shared defaults: the work that a small hostile file can ask for.
MAX_WORK = 4_000_000
MAX_PROBLEMS = 100
# For trying out the commands of one file; real ones take about a millisecond each.
MAX_SECONDS = 60

_TOP = ("framework", "defaults", "evaluations")
_FRAMEWORK = ("name", "pkg_name", "full_name", "description", "url")
# Not in the format, but in files that its own tools write and read.
_TOLERATED = ("source",)
_EVALUATION = ("name", "description", "internal", "defaults")


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A parsed framework.yml. `warnings` are complete lines, each with its key path: unknown keys and values,
    and what commands can't be rendered without."""

    place: str
    definition: Definition
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.definition.tasks


def parse(data: bytes, place: str, strict: bool = False) -> Framework:
    """`place` says in messages which file it is. `strict` makes unknown keys and values mistakes.

    Raises InvalidInput with every mistake of the file.
    """
    try:
        document = read_yaml(data, max_bytes=MAX_BYTES)
    except YamlMistakes as error:
        raise _invalid(error.problems, place) from None
    reader = _Reader(document)
    definition, problems = reader.definition(), reader.read.problems
    if strict:
        problems += reader.read.unknown
    if problems or definition is None:
        raise _invalid(problems, place)
    return Framework(place=place, definition=definition, warnings=(*reader.read.unknown, *reader.needs()))


def _invalid(problems: Sequence[str], place: str) -> InvalidInput:
    listed = list(problems[:MAX_PROBLEMS])
    if len(problems) > MAX_PROBLEMS:
        listed.append(f"and {len(problems) - MAX_PROBLEMS} more")
    return InvalidInput("not a valid framework definition", listed, place=place)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.read = CheckedValues(document)
        self._lacks: dict[str, list[Path]] = {}
        self._needs: dict[str, list[Path]] = {}
        self._deadline = time.monotonic() + MAX_SECONDS
        self._checked: set[str] = set()

    def definition(self) -> Definition | None:
        top = self.read.mapping(self.read.document.value, ())
        if top is None:
            return None
        self.read.known_keys(top, _TOP, ())
        framework = self.read.part(top, "framework", ())
        about = self._about(framework) if framework is not None else {}
        base = self.read.part(top, "defaults", ())
        shared = self.read.values(base, DEFAULTS, ("defaults",)) if base is not None else {}
        evaluations = top.get("evaluations")
        if not isinstance(evaluations, list):
            self.read.wrong(("evaluations",), "missing" if evaluations is None else "expected a list")
            return None
        if len(evaluations) * _count(shared) > MAX_WORK:
            self.read.wrong(("evaluations",), "too many evaluations of too large defaults")
            return None
        shared |= {"framework_name": about.get("name", ""), "pkg_name": about.get("pkg_name", "")}
        tasks: dict[str, Task] = {}
        for at, each in enumerate(evaluations):
            task = self._task(each, shared, ("evaluations", at))
            if task is not None:
                # A later definition takes the earlier one's place in the order.
                tasks[task.name] = task
        for key, paths in self._lacks.items():
            self.read.wrong(
                paths[0], f"no {key}, neither in its own defaults nor in the shared ones{_more(paths)}"
            )
        if self.read.problems:
            return None
        return self._assembled(about, tasks)

    def _assembled(self, about: Mapping[str, Any], tasks: Mapping[str, Task]) -> Definition:
        commands = {task.command for task in tasks.values()}
        return Definition(
            name=about["name"],
            pkg_name=about["pkg_name"],
            tasks=tuple(tasks.values()),
            full_name=about["full_name"],
            description=about["description"],
            url=about["url"],
            command=commands.pop() if len(commands) == 1 else None,
            other=about["other"],
        )

    def _about(self, framework: Mapping[str, Any]) -> dict[str, Any]:
        path: Path = ("framework",)
        self.read.known_keys(framework, (*_FRAMEWORK, *_TOLERATED), path)
        name = self.read.text(framework, "name", path, required=True)
        if name is not None and not names.HARNESS.fullmatch(name):
            self.read.wrong((*path, "name"), f"{name!r:.80} can't name a harness: {names.HARNESS_RULE}")
        parts = self.read.texts(framework, "description", path)
        return {
            "name": name,
            "pkg_name": self.read.text(framework, "pkg_name", path, required=True),
            "full_name": self.read.text(framework, "full_name", path),
            "description": "\n".join(parts) if parts else None,
            "url": self.read.text(framework, "url", path),
            "other": _other(framework, _FRAMEWORK),
        }

    def _task(self, value: Any, shared: Mapping[str, Any], path: Path) -> Task | None:
        evaluation = self.read.mapping(value, path)
        if evaluation is None:
            return None
        self.read.known_keys(evaluation, _EVALUATION, path)
        before = len(self.read.problems)
        title = self.read.text(evaluation, "name", path)
        parts = self.read.texts(evaluation, "description", path)
        internal = self.read.flag(evaluation, "internal", path)
        own = self.read.part(evaluation, "defaults", path)
        if own is None:
            return None
        own = self.read.values(own, DEFAULTS, (*path, "defaults"))
        name = self._task_name(own, (*path, "defaults"))
        effective = without_nulls(merge_defaults(shared, own), DEFAULTS)
        self._check_effective(effective, path, (*path, "defaults") if "command" in own else ("defaults",))
        if name is None or len(self.read.problems) > before:
            return None
        effective, dates = take_dates(effective) if self.read.document.dates else (effective, ())
        task = Task(
            harness=str(shared["framework_name"]),
            name=name,
            description="\n".join(parts),
            defaults=effective,
            title=None if title == name else title,
            internal=internal,
            description_parts=tuple(parts) if isinstance(evaluation.get("description"), list) else (),
            dates=dates,
            other=_other(evaluation, _EVALUATION),
        )
        self._try_out(task, path)
        return task

    def _try_out(self, task: Task, path: Path) -> None:
        """Renders the command for an example endpoint, as the first page about it would."""
        if time.monotonic() > self._deadline:
            self.read.wrong(
                ("evaluations",), f"their commands take longer than {MAX_SECONDS} seconds to render"
            )
            self._deadline = math.inf
        found = check_example(task)
        if found is None:
            return
        forbidden, why = found
        if forbidden:
            self.read.wrong(path, f"its command can't be rendered: {why}")
        else:
            self._needs.setdefault(why, []).append(path)

    def needs(self) -> list[str]:
        """What commands can't be rendered without, for those who run them: a line for each lack."""
        return [
            self.read.line(
                paths[0], f"with its defaults alone its command can't be rendered: {why}{_more(paths)}"
            )
            for why, paths in self._needs.items()
        ]

    def _task_name(self, own: Mapping[str, Any], path: Path) -> str | None:
        config = own.get("config", {})
        name = config.get("type") if isinstance(config, Mapping) else None
        where = (*path, "config", "type")
        if name is None:
            self.read.wrong(where, "missing: it names the task")
        elif isinstance(name, str) and not names.TASK.fullmatch(name):
            self.read.wrong(where, f"{name!r:.80} can't name a task: {names.TASK_RULE}")
        return name if isinstance(name, str) else None

    def _check_effective(self, effective: Mapping[str, Any], path: Path, command_path: Path) -> None:
        for key in ("command", "config", "target"):
            if key not in effective:
                self._lacks.setdefault(key, []).append(path)
        config = effective.get("config")
        if isinstance(config, Mapping):
            where = (*path, "defaults", "config")
            self.read.listed(config, "required_capabilities", CAPABILITIES, where)
            self.read.listed(config, "supported_endpoint_types", LISTED_ENDPOINT_TYPES, where)
        command = effective.get("command")
        if isinstance(command, str) and command not in self._checked:
            self._checked.add(command)
            problem = check_template(command)
            if problem is not None:
                self.read.wrong((*command_path, "command"), f"can't be rendered: {problem}")


def _other(values: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    others = {key: value for key, value in values.items() if key not in known}
    return take_dates(others)[0]


def _more(paths: Sequence[Path]) -> str:
    return f"; the same in {len(paths) - 1} more" if len(paths) > 1 else ""


def _count(value: Any) -> int:
    """How many values there are, the shared ones as often as they stand."""
    total, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        total += 1
        if total > MAX_WORK:
            break
        if isinstance(each, Mapping):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return total
