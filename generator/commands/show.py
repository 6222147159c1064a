"""`evaldock show TASK`, also as `evaldock ls task TASK`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from catalog.console import bold, catalog_option, json_option, one_line, out, print_json, safe, width, yellow
from catalog.models import EntryState, Harness
from catalog.selection import NONE, UNKNOWN, Listed, find_task
from catalog.tables import fields, paragraphs, wrap
from catalog.views import full_task_data
from generator.commands.listing import catalog_or_image, from_image_option

_PROSE = 100  # lines of text longer than this are hard to read
_TOLD_ELSEWHERE = ("type", "supported_endpoint_types", "required_capabilities")


@click.command()
@click.argument("task")
@click.option("--rendered", is_flag=True, help="Show the command as rendered for an example endpoint.")
@from_image_option
@catalog_option
@json_option
def show(*, task: str, rendered: bool, image: str | None, catalog_dir: Path | None, as_json: bool) -> None:
    """Show a task: its description, harness, image, defaults and command.

    TASK is HARNESS.NAME, or NAME alone when only one harness has it.

    \b
    Examples:
      evaldock show mmath_en
      evaldock show mmath.mmath_en --rendered
      evaldock show mmath_en --json
      evaldock show mmath_en --from registry.example/team/mmath:1.0
    """
    listed = find_task(catalog_or_image(catalog_dir, image), task)
    command = _rendered(listed) if rendered else None
    if as_json:
        print_json(full_task_data(listed) | ({} if command is None else {"rendered": command}))
        return
    columns = min(width() or _PROSE, _PROSE)
    title = "Command for an example endpoint" if rendered else "Command template"
    out("\n".join([*_head(listed, columns), "", *_section("Defaults", _defaults(listed, columns - 2))]))
    out("\n".join(["", *_section(title, safe(command or listed.task.command))]))


def _rendered(listed: Listed) -> str:
    from catalog.rendering import example  # noqa: PLC0415 # Jinja2, which a plain `show` doesn't need

    return example(listed.task)


def _head(listed: Listed, columns: int) -> list[str]:
    task, harness = listed.task, listed.harness
    lines = [bold(line) for line in wrap(task.title or task.name, columns)]
    if task.description.strip():
        lines += [*paragraphs(task.description, columns), ""]
    pairs = [
        ("task", task.id),
        ("harness", harness.name if harness.title == harness.name else f"{harness.name}: {harness.title}"),
        ("endpoint", ", ".join(task.endpoint_types) or UNKNOWN),
        ("needs", ", ".join(task.capabilities) or NONE),
        *(([("internal", "yes: not meant to be run by itself")]) if task.internal else []),
        *_image_fields(harness),
    ]
    lines.append(fields(pairs, width=columns))
    if harness.state is not EntryState.CURRENT:
        reason = f": {one_line(harness.reason)}" if harness.reason else ""
        lines += [yellow(line) for line in wrap(f"{harness.state}{reason}", columns)]
    return lines


def _image_fields(harness: Harness) -> Iterator[tuple[str, str]]:
    image = harness.image
    yield "image", image.container
    yield "digest", image.digest or UNKNOWN
    yield "platforms", ", ".join(image.platforms) or UNKNOWN
    if harness.packages:
        yield "packages", ", ".join(harness.packages)
    if harness.abilities:
        yield "able to", ", ".join(harness.abilities)
    if harness.url:
        yield "url", harness.url
    for source in harness.sources:
        yield "source", f"{source.path}\nsha256:{source.sha256}"


def _defaults(listed: Listed, columns: int) -> str:
    pairs = list(_leaves({k: v for k, v in listed.task.defaults.items() if k in ("config", "target")}))
    told = {f"config.{name}" for name in _TOLD_ELSEWHERE}
    return fields([(path, value) for path, value in pairs if path not in told], width=columns)


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted path and value of everything that isn't a mapping with something in it."""
    for key, value in data.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, json.dumps(value, ensure_ascii=False)


def _section(title: str, body: str) -> list[str]:
    return [bold(title), *(f"  {line}".rstrip() for line in body.split("\n"))]
