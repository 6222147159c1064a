"""What a recipe says of itself: the table `[tool.runspec]` in the inline metadata of its script.

    # /// script
    # dependencies = ["pyyaml"]
    # [tool.runspec]
    # name = "team/score"
    # image = "registry.example/team/score@sha256:…"
    # [tool.runspec.run]
    # launch = "python"
    # ///

Every mistake is told at once, with its line, key path, value and remedy; unknown keys are warnings.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from catalog.errors import InvalidInput, NotFound
from catalog.nearest import did_you_mean
from launcher.recipes.blocks import Block, almost_a_block, script_block
from launcher.recipes.python_versions import clauses
from launcher.recipes.runspec import LAUNCHES, SCHEMA, Runspec, RunspecConfig, RunspecResources, RunspecRun

MAX_BYTES = 1 << 20
_ROOT = ("tool", "runspec")
_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)*", re.ASCII)
_IMAGE = re.compile(r"[\w/.][\w/.:@+~-]*", re.ASCII)
# How PEP 508 has a requirement begin: the whole of it is the installer's to read.
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:$|[\[(<>=!~;@,])")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOML_LINE = re.compile(r"(.*) \(at line (\d+), column \d+\)", re.DOTALL)
_KEYS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    (): ("requires-python", "dependencies", "tool"),
    _ROOT: ("schema", "docs", "name", "image", "setup", "run", "config", "resources", "env"),
    (*_ROOT, "run"): ("launch", "cmd", "workdir"),
    (*_ROOT, "config"): ("dir", "default", "format"),
    (*_ROOT, "resources"): ("nodes", "gpus_per_node"),
}


def parse(path: str | Path) -> Runspec:
    """Raises NotFound where there is no such file, InvalidInput with every mistake."""
    script = Path(path)
    text = read_script(script)
    block = script_block(text, str(path))
    if block is None:
        raise InvalidInput("not a recipe:", [_without_block(text)], place=str(path))
    return _Reader(script.resolve(), str(path), block, _toml(block, str(path))).read()


def read_script(path: Path) -> str:
    """Its text, in the encoding that it declares, lines ending in a newline alone."""
    try:
        with path.open("rb") as file:
            if len(file.read(MAX_BYTES + 1)) > MAX_BYTES:
                raise InvalidInput("not a recipe:", [f"larger than {MAX_BYTES >> 20} MiB"], place=str(path))
        with tokenize.open(path) as lines:
            return lines.read()
    except (FileNotFoundError, NotADirectoryError):
        beside = [each.name for each in path.parent.glob("*.py")]
        near = did_you_mean(path.name, beside)
        raise NotFound(
            f"no such recipe{near}", place=str(path), hint="`evaldock ls recipes` lists them"
        ) from None
    except IsADirectoryError:
        raise NotFound(
            "a folder, not a recipe",
            place=str(path),
            hint=f"`evaldock ls recipes {path}` lists what is in it",
        ) from None
    except (UnicodeDecodeError, SyntaxError) as error:
        raise InvalidInput("not a Python script:", [str(error)], place=str(path)) from None


def _without_block(text: str) -> str:
    line = almost_a_block(text)
    if line is not None:
        wrong = text.split("\n")[line - 1]
        return f"line {line}: {wrong!r:.60} opens no block; write it as '# /// script', at the line's start"
    return "no inline metadata; begin it with a block '# /// script' … '# ///' that holds [tool.runspec]"


def _toml(block: Block, place: str) -> dict[str, Any]:
    import tomli  # noqa: PLC0415 # only where there is a block

    try:
        return tomli.loads(block.content)
    except (tomli.TOMLDecodeError, RecursionError) as error:
        found = _TOML_LINE.fullmatch(str(error))
        line = block.line + int(found[2]) - 1 if found else block.line
        problem = f"line {line}: {found[1] if found else error}"
        raise InvalidInput("its inline metadata is not valid TOML:", [problem], place=place) from None


class _Reader:
    """Collects what is wrong instead of stopping at the first of it."""

    def __init__(self, script: Path, place: str, block: Block, data: dict[str, Any]) -> None:
        from catalog.toml_lines import lines_of  # noqa: PLC0415 # only where there is a block

        self.script, self.place, self.block, self.data = script, place, block, data
        self.lines = lines_of(block.content)
        self.problems: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self.stated: set[str] = set()

    def read(self) -> Runspec:
        top = self._table((), self.data)
        self._table(("tool",), top.get("tool", {}))
        if "runspec" not in self._mapping(("tool",), top.get("tool", {})):
            near = did_you_mean("runspec", self._mapping(("tool",), top.get("tool", {})))
            problem = f"line {self.block.line - 1}: the block holds no table [tool.runspec]{near}"
            raise InvalidInput("not a recipe:", [problem], place=self.place)
        table = self._table(_ROOT, top["tool"]["runspec"])
        schema = self._schema(table)
        config = self._config(self._table((*_ROOT, "config"), table.get("config", {})))
        spec = Runspec(
            script=self.script,
            config_dir=(self.script.parent / config.dir).resolve(),
            schema=schema,
            docs=self._text((*_ROOT, "docs"), table, ""),
            name=self._name(table),
            image=self._image(table),
            setup=self._text((*_ROOT, "setup"), table, ""),
            run=self._run(self._table((*_ROOT, "run"), table.get("run", {}))),
            config=config,
            resources=self._resources(self._table((*_ROOT, "resources"), table.get("resources", {}))),
            env=MappingProxyType(self._env(self._mapping((*_ROOT, "env"), table.get("env", {})))),
            dependencies=self._dependencies(top),
            requires_python=self._requires_python(top),
            stated=frozenset(self.stated),
            warnings=tuple(self.warnings),
        )
        if self.problems:
            mistakes = "mistakes" if len(self.problems) > 1 else "a mistake"
            told = [problem for _, problem in sorted(self.problems, key=lambda each: each[0])]
            raise InvalidInput(f"this recipe has {mistakes}:", list(dict.fromkeys(told)), place=self.place)
        return spec

    def _schema(self, table: Mapping[str, Any]) -> str:
        where = (*_ROOT, "schema")
        schema = table.get("schema", SCHEMA)
        if schema != SCHEMA:
            self._wrong(where, schema, f"this evaldock reads schema {SCHEMA!r}")
        return SCHEMA

    def _name(self, table: Mapping[str, Any]) -> str:
        where = (*_ROOT, "name")
        name: str = self._text(where, table, "")
        if name and not (_NAME.fullmatch(name) and len(name) <= 200):
            self._wrong(where, name, "use letters, digits, '.', '_' and '-', with '/' between parts")
        return name

    def _image(self, table: Mapping[str, Any]) -> str | None:
        where = (*_ROOT, "image")
        image: str | None = self._text(where, table, None)
        # It becomes an argument of programs that start containers.
        if image is not None and not _IMAGE.fullmatch(image):
            self._wrong(where, image, "expected for example 'registry.example/team/name@sha256:…'")
        return image

    def _run(self, table: Mapping[str, Any]) -> RunspecRun:
        where = (*_ROOT, "run")
        launch = self._text((*where, "launch"), table, "torchrun") or ""
        if launch not in LAUNCHES and isinstance(table.get("launch", ""), str):
            ways = f"use {', '.join(LAUNCHES[:-1])} or {LAUNCHES[-1]}, or give the whole call as run.cmd"
            self._wrong((*where, "launch"), launch, ways + did_you_mean(launch, LAUNCHES))
        cmd = self._text((*where, "cmd"), table, None)
        if cmd is not None and "{script}" not in cmd:
            self._wrong(
                (*where, "cmd"), cmd, "it has to name {script}, as in 'python {script} --config {config}'"
            )
        for name in re.findall(r"(?<!\$)\{(\w+)\}", cmd or ""):
            near = did_you_mean(name, ("script", "config"))
            if name not in ("script", "config") and near:
                self._warn((*where, "cmd"), f"{{{name}}} stays as it is{near}")
        return RunspecRun(launch=launch, cmd=cmd, workdir=self._text((*where, "workdir"), table, None))

    def _config(self, table: Mapping[str, Any]) -> RunspecConfig:
        where = (*_ROOT, "config")
        default = RunspecConfig()
        shape = self._text((*where, "format"), table, default.format)
        if shape != default.format and isinstance(table.get("format", ""), str):
            self._wrong((*where, "format"), shape, f"{default.format!r} is the one that is read (YAML)")
        return RunspecConfig(
            dir=self._text((*where, "dir"), table, default.dir),
            default=self._text((*where, "default"), table, default.default),
        )

    def _resources(self, table: Mapping[str, Any]) -> RunspecResources:
        where = (*_ROOT, "resources")
        default = RunspecResources()
        nodes = table.get("nodes", default.nodes)
        if not _is_count(nodes) or nodes < 1:
            self._wrong((*where, "nodes"), nodes, "expected a whole number from 1 on")
            nodes = default.nodes
        gpus = table.get("gpus_per_node", default.gpus_per_node)
        if not (_is_count(gpus) and gpus >= 0) and gpus != "gpu":
            self._wrong(
                (*where, "gpus_per_node"),
                gpus,
                "expected a whole number from 0 on, or 'gpu' for all of a node",
            )
            gpus = default.gpus_per_node
        return RunspecResources(nodes=nodes, gpus_per_node=gpus)

    def _env(self, table: Mapping[str, Any]) -> dict[str, str]:
        made = {}
        for name, value in table.items():
            where = (*_ROOT, "env", name)
            if not _VARIABLE.fullmatch(name):
                self._wrong(where, name, "not a variable's name: letters, digits and '_', no digit first")
            elif isinstance(value, bool) or not isinstance(value, str | int | float):
                self._wrong(where, value, "expected text; put it in quotes")
            else:
                made[name] = str(value)
        return made

    def _requires_python(self, table: Mapping[str, Any]) -> str | None:
        where = ("requires-python",)
        text: str | None = self._text(where, table, None)
        try:
            return text if text is None or clauses(text) else None
        except ValueError as error:
            self._wrong(where, text, f"{error}; expected for example '>=3.11'")
            return None

    def _dependencies(self, table: Mapping[str, Any]) -> tuple[str, ...]:
        where = ("dependencies",)
        given = table.get("dependencies", [])
        if not isinstance(given, list):
            self._wrong(where, given, "expected a list of requirements (PEP 508)")
            return ()
        for each in given:
            # They become arguments of an installer.
            if not isinstance(each, str) or not each.isprintable() or not _REQUIREMENT.match(each):
                self._wrong(where, each, "not a requirement (PEP 508), such as 'pyyaml>=6'")
        return tuple(each for each in given if isinstance(each, str))

    def _table(self, where: tuple[str, ...], value: Any) -> dict[str, Any]:
        """A table whose keys are known: what else stands in it is warned of."""
        table = self._mapping(where, value)
        known = _KEYS.get(where)
        for key in table:
            if known is not None and key not in known:
                near = did_you_mean(key, known) or f"; there are {', '.join(known)}"
                self._warn((*where, key), f"unknown key, ignored{near}")
            elif where[:2] == _ROOT:
                self.stated.add(".".join((*where[2:], key)))
        return table

    def _mapping(self, where: tuple[str, ...], value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._wrong(where, value, f"expected a table [{'.'.join(where)}]")
        return {}

    def _text(self, where: tuple[str, ...], table: Mapping[str, Any], default: Any) -> Any:
        value = table.get(where[-1], default)
        if value is default or isinstance(value, str):
            return value
        self._wrong(where, value, "expected text; put it in quotes")
        return default

    def _wrong(self, where: tuple[str, ...], value: Any, remedy: str) -> None:
        line = self._line(where)
        self.problems.append((line, f"line {line}: {'.'.join(where)}: {value!r:.80}: {remedy}"))

    def _warn(self, where: tuple[str, ...], message: str) -> None:
        self.warnings.append(f"{self.place}: line {self._line(where)}: {'.'.join(where)}: {message}")

    def _line(self, where: tuple[str, ...]) -> int:
        """The line in the script: of the key, else of what it stands in."""
        known = (where[:n] for n in range(len(where), 0, -1) if where[:n] in self.lines)
        return self.block.line + self.lines.get(next(known, ()), 1) - 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
