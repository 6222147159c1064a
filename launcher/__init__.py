"""Runs tasks of a catalog, and recipes, on a backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.recipes.runspec import Runspec

__all__ = ["parse"]


def parse(path: str | Path) -> Runspec:
    """What a recipe says of itself: the `[tool.runspec]` table of its script.

    Raises `catalog.errors.NotFound` and, with every mistake, `catalog.errors.InvalidInput`.
    """
    from launcher.recipes.runspec_reading import parse as read  # noqa: PLC0415 # importing the package costs nothing

    return read(path)
