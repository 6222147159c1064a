"""A profile laid over a configuration: it wins, but for what describes the work rather than the place.

Variables are merged, mounts joined; a configuration's own image, nodes and GPUs stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.normal_form import merge

JOINED = (("execution", "mounts"), ("execution", "container_mounts"), ("deployment", "mounts"))
# Each by all of its names: who asks for `gpus` doesn't want the profile's `gpus_per_node`.
KEPT = (
    ("execution", ("gpus", "gpus_per_node")),
    ("execution", ("image",)),
    ("execution", ("nodes",)),
    ("deployment", ("image",)),
)


def overlay(own: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with `profile` over it. Shares what neither changes."""
    merged = merge(own, profile)
    for section, names in KEPT:
        kept = {name: value for name in names if (value := _at(own, (section, name))) is not None}
        if kept:
            rest = {key: value for key, value in merged[section].items() if key not in names}
            merged[section] = rest | kept
    for path in JOINED:
        ours, theirs = _at(own, path), _at(profile, path)
        # An interpolation can stand where a list is expected: what it comes to isn't known yet.
        if isinstance(ours, list) and isinstance(theirs, list):
            merged = merge(merged, _nested(path, [*ours, *(each for each in theirs if each not in ours)]))
        elif ours is not None and theirs is not None:
            merged = merge(merged, _nested(path, ours))
    return merged


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)
