"""`evaldock init [DIR]`."""

from __future__ import annotations

from pathlib import Path

import click

from catalog import store
from catalog.atomic import replace_file
from catalog.console import note
from catalog.errors import Refused
from catalog.mapping_edit import TEMPLATE


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
def init(*, folder: Path) -> None:
    """Make a new catalog in DIR (default: here): mapping.toml with an example, and its index.

    Nothing that exists is overwritten.

    \b
    Examples:
      evaldock init
      evaldock init catalog
    """
    path = folder / store.MAPPING
    if path.exists():
        raise Refused(
            "there is a catalog here already", place=str(path), hint="edit it; `evaldock sync` reads it"
        )
    if (folder / store.INDEX).exists():
        raise Refused("an index without a mapping.toml is here", place=str(folder / store.INDEX))
    folder.mkdir(parents=True, exist_ok=True)
    raw = TEMPLATE.encode()
    # The mapping last: it is what makes the folder a catalog.
    store.write(folder, store.checksum(raw), [])
    replace_file(path, raw)
    note(f"{path} is an empty catalog: name an image in it, then `evaldock sync`")
