"""Opening a catalog for commands that only show it: what doesn't verify is shown too, with a warning."""

from __future__ import annotations

from pathlib import Path

from catalog import store
from catalog.console import warn
from catalog.models import Catalog

_SHOWN = 3


def open_catalog(catalog_dir: Path | None) -> Catalog:
    """Raises NotFound when there is no catalog."""
    catalog = store.load(store.find_root(catalog_dir))
    if catalog.problems:
        warn(f"the IR in {catalog.root} does not verify; what follows may not be what the images hold")
        for problem in catalog.problems[:_SHOWN]:
            warn(problem)
        rest = len(catalog.problems) - _SHOWN
        warn(f"{f'{rest} more problems; ' if rest > 0 else ''}`evaldock check` tells them all")
    return catalog
