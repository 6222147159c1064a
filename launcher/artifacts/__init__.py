"""Artifacts: weights, data sets and whatever else runs need or leave, by name and version.

A registry is a folder of any fsspec file system (see `launcher.artifacts.registry`). `resolve` is behind
`${art:…}` in configurations; `art://name[:version]/path` is a file system of its own.
"""

from __future__ import annotations

from launcher.artifacts.opening import open_registry, resolve

__all__ = ["open_registry", "resolve"]
