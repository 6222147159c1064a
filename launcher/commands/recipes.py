"""`evaldock ls recipes` and `evaldock help`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalog.console import bold, dim, json_option, out, print_json, safe, warn, width
from catalog.errors import UsageError
from catalog.tables import Column, fields, paragraphs, table

if TYPE_CHECKING:
    from launcher.recipes.described import Configuration
    from launcher.recipes.discovery import Found
    from launcher.recipes.pipelines import Step
    from launcher.recipes.runspec import Runspec

_PROSE = 100  # lines of text longer than this are hard to read


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
@json_option
def recipes(*, folder: Path, as_json: bool) -> None:
    """List recipes: scripts that say how they are run, in DIR and below.

    A recipe has a [tool.runspec] table in its inline metadata.

    \b
    Examples:
      evaldock ls recipes
      evaldock ls recipes recipes/nightly --json
    """
    from launcher.recipes.discovery import find  # noqa: PLC0415 # reads files

    found = find(folder)
    if as_json:
        print_json([_found_data(each) for each in found])
        return
    rows = [
        (str(each.path), each.spec.name, each.spec.run.launch, _first_line(each.spec))
        for each in found
        if each.spec is not None
    ]
    if rows:
        columns = (Column("recipe"), Column("name"), Column("launch"), Column("says", flexible=True))
        out(table(columns, rows, width=width()))
    elif not found:
        out(f"no recipes below {safe(str(folder))}; the guide on recipes says how to write one")
    for each in found:
        for line in each.spec.warnings if each.spec else (each.problem,):
            warn(line)


@click.command(name="help")
@click.argument("what", nargs=-1, metavar="[COMMAND... | RECIPE | PIPELINE]")
@json_option
def help_command(*, what: tuple[str, ...], as_json: bool) -> None:
    """Show the help of a command, or of a recipe.

    Of a recipe: its documentation, its configurations, what can be overridden, and the profiles it can run
    in. Of a pipeline: its steps, in the order in which they can run.

    \b
    Examples:
      evaldock help
      evaldock help ls tasks
      evaldock help recipes/score.py
    """
    if len(what) == 1 and not what[0].endswith(".toml") and ("/" in what[0] or what[0].endswith(".py")):
        from launcher.recipes.runspec_reading import parse  # noqa: PLC0415

        _help_recipe(what[0], parse(what[0]), as_json)
        return
    if len(what) == 1 and what[0].endswith(".toml"):
        _help_pipeline(what[0], as_json)
        return
    if as_json:
        raise UsageError("--json is for recipes", hint="a command's help is text")
    out(_command_help(what))


def _command_help(words: Sequence[str]) -> str:
    from catalog.cli import root  # noqa: PLC0415 # what imports this module

    command: click.Command = root()
    context = click.Context(command, info_name="evaldock", **command.context_settings)
    for word in words:
        if not isinstance(command, click.Group):
            raise UsageError(
                f"{context.command_path!r} has no commands", hint=f"evaldock help {command.name}"
            )
        name, found, _ = command.resolve_command(context, [word])
        assert found is not None  # noqa: S101 # click raises where there is none
        command, context = (
            found,
            click.Context(found, info_name=name, parent=context, **found.context_settings),
        )
    return command.get_help(context)


def _help_recipe(path: str, spec: Runspec, as_json: bool) -> None:
    from launcher.recipes import described  # noqa: PLC0415

    configurations = described.configurations(spec)
    overrides, unread = described.overrides(spec)
    profiles, wrong = described.profiles()
    docs = described.documentation(spec)
    if as_json:
        data = {
            **_spec_data(spec),
            "docs": docs,
            "configurations": [
                {"name": each.name, "default": each.default, "says": each.says} for each in configurations
            ],
            "overrides": dict(overrides),
            "profiles": [
                {"name": name, "backend": backend, "description": says} for name, backend, says in profiles
            ],
        }
        print_json(data)
    else:
        columns = min(width() or _PROSE, _PROSE)
        lines = [bold(safe(spec.title))]
        lines += [*paragraphs(docs, columns), ""] if docs else [""]
        lines.append(fields([("recipe", path), *_how(spec)], width=columns))
        lines += _section("Configurations", _configurations(configurations, columns))
        lines += _section("Overrides", _overrides(overrides, columns))
        lines += _section("Profiles", _profiles(profiles, columns))
        lines += _section(
            "Run it", [f"  evaldock run {safe(shlex.quote(path))}{_example(configurations, profiles)}"]
        )
        out("\n".join(lines))
    for problem in (*spec.warnings, unread, wrong):
        if problem:
            warn(problem)


def _help_pipeline(path: str, as_json: bool) -> None:
    from launcher.recipes.pipelines import read  # noqa: PLC0415

    pipeline = read(Path(path))
    steps = pipeline.ordered()
    if as_json:
        print_json({"name": pipeline.name, "steps": [_step_data(step) for step in steps]})
        return
    columns = (Column("step"), Column("needs"), Column("runs"), Column("config"), Column("profile"))
    rows = [
        (
            step.name,
            ", ".join(step.needs),
            step.task or Path(step.recipe or "").name,
            Path(step.config or "").name,
            step.profile or "",
            " ".join(step.overrides),
        )
        for step in steps
    ]
    out(bold(safe(pipeline.name)))
    out(table([*columns, Column("overrides", flexible=True)], rows, width=width()))
    out(f"\n{bold('Run it')}\n  evaldock run {safe(shlex.quote(path))}{dim(' STEP.key=value…')}")


def _step_data(step: Step) -> dict[str, Any]:
    return {
        "step": step.name,
        "needs": list(step.needs),
        "recipe": str(step.recipe) if step.recipe else None,
        "task": step.task,
        "config": step.config,
        "profile": step.profile,
        "overrides": list(step.overrides),
    }


def _how(spec: Runspec) -> Iterator[tuple[str, str]]:
    yield "launch", spec.run.cmd or spec.run.launch
    if spec.image:
        yield "image", spec.image
    nodes, gpus = spec.resources.nodes, spec.resources.gpus_per_node
    if any(each.startswith("resources.") for each in spec.stated):
        each = "all GPUs" if gpus == "gpu" else f"{gpus} GPUs"
        yield "resources", f"{nodes} node{'s' if nodes > 1 else ''}, {each} on each"
    if spec.dependencies:
        yield "needs", ", ".join(spec.dependencies)
    if spec.env:
        yield "variables", ", ".join(sorted(spec.env))


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", bold(title), *lines] if lines else []


def _configurations(found: Sequence[Configuration], columns: int) -> list[str]:
    pairs = [
        (
            each.name,
            " ".join(part for part in ("(default)" if each.default else "", each.says) if part) or "-",
        )
        for each in found
    ]
    return _indented(pairs, columns)


def _overrides(found: Sequence[tuple[str, Any]], columns: int) -> list[str]:
    return _indented(
        [(key, json.dumps(value, ensure_ascii=False, default=str)) for key, value in found], columns
    )


def _profiles(found: Sequence[tuple[str, str, str]], columns: int) -> list[str]:
    pairs = [
        (name, ": ".join(part for part in (backend, says) if part) or "-") for name, backend, says in found
    ]
    return _indented(pairs, columns)


def _indented(pairs: Sequence[tuple[str, str]], columns: int) -> list[str]:
    if not pairs:
        return []
    return [f"  {line}" for line in fields(pairs, width=columns - 2).split("\n")]


def _example(configurations: Sequence[Configuration], profiles: Sequence[tuple[str, str, str]]) -> str:
    others = [each.name for each in configurations if not each.default]
    chosen = f" -c {shlex.quote(others[0])}" if others else ""
    return safe(chosen + (f" --profile {shlex.quote(profiles[0][0])}" if profiles else "")) + dim(
        " key=value…"
    )


def _first_line(spec: Runspec) -> str:
    from launcher.recipes.described import documentation  # noqa: PLC0415

    return documentation(spec).partition("\n")[0]


def _found_data(found: Found) -> dict[str, Any]:
    if found.spec is None:
        return {"recipe": str(found.path), "problem": found.problem}
    return {"recipe": str(found.path), **_spec_data(found.spec), "docs": _first_line(found.spec)}


def _spec_data(spec: Runspec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "image": spec.image,
        "launch": spec.run.launch,
        "cmd": spec.run.cmd,
        "nodes": spec.resources.nodes,
        "gpus_per_node": spec.resources.gpus_per_node,
        "config_dir": str(spec.config_dir),
        "default": spec.config.default,
        "dependencies": list(spec.dependencies),
        "env": dict(spec.env),
        "warnings": list(spec.warnings),
    }
