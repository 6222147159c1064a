"""`evaldock diff BASE [HEAD]`."""

from __future__ import annotations

from pathlib import Path

import click

from catalog import store
from catalog.console import catalog_option, json_option, note, out, print_json, warn
from catalog.difference import compare
from catalog.difference_text import as_markdown, as_text, difference_data
from catalog.models import Catalog
from catalog.revisions import load_revision, merge_base


@click.command()
@click.argument("base")
@click.argument("head", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something changed.")
@click.option(
    "--merge-base",
    "from_parting",
    is_flag=True,
    help="Compare from where BASE and HEAD parted, as a pull request.",
)
@catalog_option
@json_option
def diff(
    *,
    base: str,
    head: str | None,
    form: str,
    exit_code: bool,
    from_parting: bool,
    catalog_dir: Path | None,
    as_json: bool,
) -> None:
    """Compare two states of a catalog: what was added, removed, renamed, and changed field by field.

    BASE and HEAD are git revisions, or folders of catalogs. Without HEAD, BASE is compared with the
    catalog as it stands in the work tree. Markdown fits the comment of a pull request.

    \b
    Examples:
      evaldock diff HEAD
      evaldock diff v1.0 v2.0
      evaldock diff origin/main --merge-base --format markdown
      evaldock diff ../other/catalog catalog --json
    """
    folders = _is_catalog(base) and head is not None and _is_catalog(head)
    root = Path(base) if folders else store.find_root(catalog_dir)
    if from_parting:
        base = merge_base(root, base, head or "HEAD")
    old = _state(root, base)
    new = store.load(root) if head is None else _state(root, head)
    for catalog in (old, new):
        if catalog.problems:
            warn(f"{catalog.root} does not verify: {catalog.problems[0]}")
    difference = compare(old.harnesses, new.harnesses)
    names = {"base": base, "head": head or "work tree"}
    if as_json:
        print_json({**names, "equal": not difference, **difference_data(difference)})
    elif form == "markdown":
        out(as_markdown(difference, base=base, head=names["head"]))
    else:
        out(as_text(difference))
    if difference and exit_code:
        raise click.exceptions.Exit(1)


def _is_catalog(name: str) -> bool:
    return (Path(name) / store.MAPPING).is_file()


def _state(root: Path, name: str) -> Catalog:
    if _is_catalog(name):
        return store.load(Path(name))
    found = load_revision(root, name)
    if found is None:
        note(f"there is no catalog in {name}: everything counts as added or removed")
        return Catalog(root=name, mapping_sha256="", harnesses=())
    return found
