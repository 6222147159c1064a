"""`evaldock build`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from catalog import store
from catalog.console import catalog_option, json_option, note, out, print_json
from catalog.errors import EvaldockError, UsageError
from generator.site.building import Build, run


@click.command()
@click.option(
    "--source",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Sphinx project to build instead of the one that evaldock brings along; it needs a conf.py.",
)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("site"),
    show_default=True,
    help="Where the pages go. Removed pages are removed there; anything else in it stays.",
)
@click.option("--title", metavar="TEXT", help="Title of the site (without --source).")
@click.option(
    "--repository", metavar="URL", help="Repository whose workflow evaluate.yml runs tasks: pages lead to it."
)
@click.option(
    "--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Processes for documents."
)
@click.option("--open", "show", is_flag=True, help="Open the site in a browser.")
@click.option("-W", "strict", is_flag=True, help="Exit 1 when there are warnings.")
@click.option("--allow-unverified", is_flag=True, help="Build although the IR does not verify.")
@click.option("--quiet", "-q", is_flag=True, help="Print warnings and the address only.")
@catalog_option
@json_option
def build(
    *,
    source: Path | None,
    output: Path,
    title: str | None,
    repository: str | None,
    jobs: int,
    show: bool,
    strict: bool,
    allow_unverified: bool,
    quiet: bool,
    catalog_dir: Path | None,
    as_json: bool,
) -> None:
    """Build the catalog's site.

    A catalog is all it needs. Only pages that changed are written. Refuses an IR that does not verify.

    \b
    Examples:
      evaldock build
      evaldock build --catalog path/to/catalog --output public --open
      evaldock build --source docs -W
    """
    catalog = store.load(store.find_root(catalog_dir))
    if not allow_unverified:
        store.require_verified(catalog)
    elif catalog.problems:
        note(f"{catalog.root} does not verify; building all the same, as asked")
    if title is not None and source is not None:
        raise UsageError(
            "--title goes without --source", hint="a project of your own has its title in conf.py"
        )
    wanted = Build(
        catalog=Path(catalog.root).resolve(),
        source=source.resolve() if source else None,
        output=output.resolve(),
        title=title,
        repository=repository,
        jobs=jobs,
        strict=strict,
        allow_unverified=allow_unverified,
        quiet=quiet or as_json,
        colour=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
    )
    if run(wanted) != 0:
        raise EvaldockError(
            "the site was not built, or not without warnings",
            place=str(output),
            hint="what is wrong stands above",
        )
    index = wanted.output / "index.html"
    if as_json:
        print_json({"output": str(wanted.output), "address": index.as_uri(), "tasks": len(catalog.tasks)})
    else:
        out(index.as_uri())
    if show:
        webbrowser.open(index.as_uri())
