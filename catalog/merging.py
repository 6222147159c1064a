"""How the parts of a framework definition become one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_defaults(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`override` laid over `base`: mappings recurse, lists and scalars replace.

    A null in `override` never clears or adds a key; but a mapping that `base` doesn't have (or has something
    else in place of) is taken as it stands, nulls included. Shares what it doesn't change.
    """
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge_defaults(below, value)
        elif value is not None:
            merged[key] = value
    return merged
