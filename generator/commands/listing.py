"""`evaldock ls harnesses` and `evaldock ls tasks`. Nothing here may import what takes long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from catalog.console import catalog_option, json_option, note, out, print_json, width
from catalog.errors import UsageError
from catalog.models import Catalog, EntryState, Harness
from catalog.opening import open_catalog
from catalog.selection import NONE, UNKNOWN, Filters, Listed, select_harnesses, select_tasks
from catalog.tables import Column, table
from catalog.views import harness_data, task_data

Command = TypeVar("Command", bound=Callable[..., Any])


def from_image_option(command: Command) -> Command:
    return click.option(
        "--from", "image", metavar="IMAGE", help="Read this image now instead of a catalog. Any transport."
    )(command)


def _filter_options(command: Command) -> Command:
    for option in (
        click.option("--harness", "harnesses", multiple=True, metavar="NAME", help="Of this harness only."),
        click.option(
            "--endpoint", "endpoints", multiple=True, metavar="TYPE", help="chat, completions, …, or unknown."
        ),
        click.option(
            "--capability",
            "capabilities",
            multiple=True,
            metavar="NAME",
            help="logprobs, tools, image_url, …, or none.",
        ),
        click.option(
            "--arch", "architectures", multiple=True, metavar="NAME", help="amd64, arm64, …, or unknown."
        ),
        click.argument("words", nargs=-1, metavar="[WORD]..."),
    ):
        command = option(command)
    return command


@click.command()
@_filter_options
@from_image_option
@catalog_option
@json_option
def tasks(*, image: str | None, catalog_dir: Path | None, as_json: bool, **filters: Sequence[str]) -> None:
    """List tasks.

    Words are looked for in names, titles and descriptions, in any case; all of them must occur. An option
    that is given twice accepts either value.

    \b
    Examples:
      evaldock ls tasks
      evaldock ls tasks --endpoint chat --capability none math
      evaldock ls tasks --harness mmath --json
      evaldock ls tasks --from registry.example/team/harness:1.0
    """
    catalog = catalog_or_image(catalog_dir, image)
    wanted = Filters(**filters)
    chosen = select_tasks(catalog, wanted)
    if as_json:
        print_json([task_data(one) for one in chosen])
        return
    columns = (Column("task"), Column("endpoint"), Column("needs"), Column("description", flexible=True))
    if chosen:
        out(table(columns, [_task_row(one) for one in chosen], width=width()))
    else:
        _explain_nothing(catalog, wanted)


def _task_row(listed: Listed) -> tuple[str, str, str, str]:
    task = listed.task
    about = task.description or task.title or ""
    # Descriptions are untrusted: one of 100 KB would make every line of a pipe that long.
    return task.id, _joined(task.endpoint_types, UNKNOWN), _joined(task.capabilities, ""), about[:300]


@click.command()
@_filter_options
@from_image_option
@catalog_option
@json_option
def harnesses(
    *, image: str | None, catalog_dir: Path | None, as_json: bool, **filters: Sequence[str]
) -> None:
    """List harnesses: those that hold a task which all filters accept.

    \b
    Examples:
      evaldock ls harnesses
      evaldock ls harnesses --arch arm64
      evaldock ls harnesses --json --catalog team/catalog
    """
    catalog = catalog_or_image(catalog_dir, image)
    wanted = Filters(**filters)
    chosen = select_harnesses(catalog, wanted)
    if as_json:
        print_json([harness_data(one) for one in chosen])
        return
    columns = (
        Column("harness"),
        Column("tasks", right=True),
        Column("arch"),
        Column("state"),
        Column("image"),
        Column("title", flexible=True),
    )
    if chosen:
        out(table(columns, [_harness_row(one) for one in chosen], width=width()))
    else:
        _explain_nothing(catalog, wanted)


def _harness_row(harness: Harness) -> tuple[str, ...]:
    return (
        harness.name,
        str(len(harness.tasks)),
        _joined(harness.image.architectures, UNKNOWN),
        "" if harness.state is EntryState.CURRENT else str(harness.state),
        harness.image.container,
        harness.title[:300],
    )


def _joined(values: Sequence[str], nothing: str) -> str:
    return ", ".join(values) or nothing


def catalog_or_image(catalog_dir: Path | None, image: str | None) -> Catalog:
    """Only with `--from` is anything imported that can read an image."""
    if image is None:
        return open_catalog(catalog_dir)
    if catalog_dir is not None:
        raise UsageError("--from and --catalog exclude each other", hint="name one of them")
    from generator.on_the_fly import read_catalog  # noqa: PLC0415 # seconds of imports that a catalog spares

    return read_catalog(image)


def _explain_nothing(catalog: Catalog, wanted: Filters) -> None:
    everything = select_tasks(catalog, Filters())
    if not everything:
        note("this catalog holds no tasks yet; `evaldock sync` reads them from the images of mapping.toml")
        return
    known = {
        "endpoint types": (wanted.endpoints, {e for one in everything for e in one.task.endpoint_types}),
        "capabilities": (wanted.capabilities, {c for one in everything for c in one.task.capabilities}),
        "architectures": (
            wanted.architectures,
            {a for one in everything for a in one.harness.image.architectures},
        ),
    }
    note(f"none of {len(everything)} tasks is like that")
    for name, (asked, there) in known.items():
        if set(asked) - there - {UNKNOWN, NONE}:
            note(f"{name} in this catalog: {_joined(sorted(there), 'none')}")
