"""What a check asks about, and what it answers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError

LITTLE = 1 << 30  # bytes


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"  # runs may do without it
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`said` is what was found, in one line; `remedy` what to do about it."""

    name: str
    grade: Grade
    said: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`settings` are the backend's as plans hold them; `execution` is that of the configuration, as plain
    data. `secrets` are names that jobs get secrets by, with the side that has them (`host`, `runtime`).
    `urls` are the models'. `serves`: the backend makes an endpoint for the run."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    serves: bool = False


def ok(name: str, said: str) -> Check:
    return Check(name=name, grade=Grade.OK, said=said)


def warn(name: str, said: str, remedy: str | None = None) -> Check:
    return Check(name=name, grade=Grade.WARN, said=said, remedy=remedy)


def fail(name: str, said: str, remedy: str | None = None) -> Check:
    return Check(name=name, grade=Grade.FAIL, said=said, remedy=remedy)


def failed(name: str, error: EvaldockError) -> Check:
    place = f"{error.place}: " if error.place else ""
    return fail(name, f"{place}{error.message}", error.hint)


def folder(name: str, path: Path, remedy: str) -> Check:
    """Whether files can be written below `path`, which need not exist yet, and how much room is left."""
    there = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=there if there.is_dir() else there.parent):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return fail(name, f"{path}: nothing can be written there ({error.strerror or error})", remedy)
    if free < LITTLE:
        return warn(name, f"{path}: {free >> 20} MiB are free", "make room, or take another folder")
    return ok(name, f"{path}, {free >> 30} GiB free")
