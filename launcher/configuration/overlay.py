"""A profile laid over a configuration: it wins, but for what describes the work rather than the place.

Variables are merged, mounts joined; a configuration's own image, nodes and GPUs stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from catalog.normal_form import merge

JOINED = (("execution", "mounts"), ("deployment", "mounts"))
KEPT = (
    ("execution", "gpus"),
    ("execution", "gpus_per_node"),
    ("execution", "image"),
    ("execution", "nodes"),
    ("deployment", "image"),
)


def overlay(
    own: Mapping[str, Any], profile: Mapping[str, Any], run: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """`own` with `profile` over it. Shares what neither changes.

    `run` is what the launcher knows of the run. The configuration's own `run` wins, but for `run.env`, the
    profile's settings as recipes see them: those are laid over it as over `execution`.
    """
    merged = _laid(own, profile)
    ours = own.get("run", {})
    if not run or not isinstance(ours, Mapping):
        return merged
    merged["run"] = merge(run, ours)
    theirs, env = run.get("env"), ours.get("env", {})
    if isinstance(theirs, Mapping) and isinstance(env, Mapping):
        merged["run"]["env"] = _laid({"execution": env}, {"execution": theirs})["execution"]
    return merged


def _laid(own: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    merged = merge(own, profile)
    for path in KEPT:
        kept = _at(own, path)
        if kept is not None and kept != _at(merged, path):
            merged = merge(merged, _nested(path, kept))
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
