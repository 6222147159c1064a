"""Pipelines: `pipeline.toml`, steps that need one another, as one run.

    name = "nightly"

    [[step]]
    name = "prepare"
    recipe = "prepare.py"
    overrides = ["count=20"]

    [[step]]
    name = "score"
    recipe = "score.py"
    config = "small"
    needs = ["prepare"]

A step is a recipe or a task of a catalog. Paths are relative to the file. The results of a step reach those
that need it as `EVALDOCK_INPUT_<NAME>` and, in their configurations, as `${run.inputs.<name>}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound
from catalog.nearest import did_you_mean
from catalog.toml_lines import lines_of

MAX_BYTES = 1 << 20
_FIELDS = ("name", "recipe", "task", "config", "needs", "overrides", "profile")
_TOP = ("name", "step", "execution")
# A step's name becomes part of a variable's.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_STEP_LINE = re.compile(r"\s*\[\[\s*step\s*\]\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Either `recipe`, an absolute path, or `task`, a name in the catalog. `config` as for `-c`; one with a
    slash or an ending is absolute here."""

    name: str
    recipe: Path | None = None
    task: str | None = None
    config: str | None = None
    needs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    profile: str | None = None

    @property
    def input_name(self) -> str:
        return self.name.replace("-", "_").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """`steps` in the file's order. `execution` is laid over every step's."""

    path: Path
    name: str
    steps: tuple[Step, ...]
    execution: Mapping[str, Any] = field(default_factory=dict)

    def ordered(self) -> tuple[Step, ...]:
        """Every step after those that it needs, else in the file's order."""
        by_name = {step.name: step for step in self.steps}
        done: dict[str, Step] = {}

        def add(step: Step) -> None:
            if step.name not in done:
                for name in step.needs:
                    add(by_name[name])
                done[step.name] = step

        for step in self.steps:
            add(step)
        return tuple(done.values())


def read(path: Path) -> Pipeline:
    """Raises NotFound, or InvalidInput with every mistake."""
    import tomli  # noqa: PLC0415 # only pipelines are read with it here

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound("no such pipeline", place=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise InvalidInput("not a pipeline:", [f"larger than {MAX_BYTES >> 20} MiB"], place=str(path))
    try:
        text = raw.decode().replace("\r\n", "\n")
        data = tomli.loads(text)
    except (UnicodeDecodeError, tomli.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput("not valid TOML:", [str(error)], place=str(path)) from None
    return _Reader(path.resolve(), text, data).read()


class _Reader:
    """Collects what is wrong instead of stopping at the first of it."""

    def __init__(self, path: Path, text: str, data: dict[str, Any]) -> None:
        self.path, self.data = path, data
        self.lines = lines_of(text)
        self.starts = [n for n, line in enumerate(text.split("\n"), start=1) if _STEP_LINE.match(line)]
        self.problems: list[str] = []

    def read(self) -> Pipeline:
        for key in self.data.keys() - set(_TOP):
            self._wrong(self.lines.get((key,)), f"{key}: unknown key{did_you_mean(key, _TOP)}")
        listed = self.data.get("step", [])
        if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
            self._wrong(self.lines.get(("step",)), "step: expected tables [[step]], one for each step")
            listed = []
        steps = [self._step(number, table) for number, table in enumerate(listed)]
        self._check_names(steps)
        execution = self.data.get("execution", {})
        if not isinstance(execution, dict):
            self._wrong(self.lines.get(("execution",)), "execution: expected a table")
        name = self.data.get("name", self.path.stem)
        if not isinstance(name, str):
            self._wrong(self.lines.get(("name",)), f"name: expected text, got {name!r:.80}")
        if self.problems:
            mistakes = "mistakes" if len(self.problems) > 1 else "a mistake"
            raise InvalidInput(f"this pipeline has {mistakes}:", self.problems, place=str(self.path))
        return Pipeline(path=self.path, name=name, steps=tuple(steps), execution=execution)

    def _step(self, number: int, table: Mapping[str, Any]) -> Step:
        place = f"step[{number}]"
        for key in table.keys() - set(_FIELDS):
            self._at(number, f"{place}.{key}: unknown key{did_you_mean(key, _FIELDS)}")
        name = self._text(number, table, "name")
        if not name:
            self._at(number, f"{place}.name: every step has a name")
        elif not _NAME.fullmatch(name):
            self._at(number, f"{place}.name: {name!r:.80}: use letters, digits, '_' and '-', a letter first")
        recipe, task = self._text(number, table, "recipe"), self._text(number, table, "task")
        if (recipe is None) == (task is None):
            self._at(number, f"{place}: a step is either a recipe or a task")
        config = self._text(number, table, "config")
        if config is not None and (task is not None or "/" in config or config.endswith((".yaml", ".yml"))):
            config = str(self.path.parent / config)
        return Step(
            name=name or "",
            recipe=(self.path.parent / recipe).resolve() if recipe is not None else None,
            task=task,
            config=config,
            needs=self._texts(number, table, "needs"),
            overrides=self._texts(number, table, "overrides"),
            profile=self._text(number, table, "profile"),
        )

    def _check_names(self, steps: Sequence[Step]) -> None:
        seen: dict[str, str] = {}
        for number, step in enumerate(steps):
            if step.input_name in seen:
                self._at(number, f"step[{number}].name: there is a step {seen[step.input_name]!r} already")
            seen.setdefault(step.input_name, step.name)
        names = [step.name for step in steps]
        unknown = False
        for number, step in enumerate(steps):
            for wanted in step.needs:
                if wanted not in names:
                    unknown = True
                    near = did_you_mean(wanted, names) or f"; there are {', '.join(names)}"
                    self._at(number, f"{step.name}.needs: no step {wanted!r}{near}")
        if not unknown and (chain := _circle(steps)):
            number = names.index(chain[0])
            self._at(number, f"{chain[0]}.needs: steps need one another in a circle: {' → '.join(chain)}")

    def _text(self, number: int, table: Mapping[str, Any], key: str) -> str | None:
        value = table.get(key)
        if value is None or isinstance(value, str):
            return value
        self._at(number, f"step[{number}].{key}: expected text, got {value!r:.80}")
        return None

    def _texts(self, number: int, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        self._at(number, f"step[{number}].{key}: expected a list of texts, got {value!r:.80}")
        return ()

    def _at(self, number: int, problem: str) -> None:
        self._wrong(self.starts[number] if number < len(self.starts) else None, problem)

    def _wrong(self, line: int | None, problem: str) -> None:
        self.problems.append(f"line {line}: {problem}" if line else problem)


def _circle(steps: Sequence[Step]) -> list[str]:
    """The names of a circle, its first at both ends; empty where there is none."""
    needs = {step.name: step.needs for step in steps}
    done: set[str] = set()

    def walk(name: str, chain: tuple[str, ...]) -> list[str]:
        if name in chain:
            return [*chain[chain.index(name) :], name]
        if name not in done:
            for wanted in needs[name]:
                if found := walk(wanted, (*chain, name)):
                    return found
            done.add(name)
        return []

    return next((found for step in steps if (found := walk(step.name, ()))), [])
