"""Harness packages that only the launching machine has, as code to ship."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from catalog.errors import Refused
from catalog.identity import is_local
from launcher.code.code_files import collect
from launcher.code.packaging import CodeTree, tree_of

# "-r FILE", "--requirement=FILE" and the same for constraints, in pip's format.
_REQUIREMENTS = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*([^\s#]+)")


def harness_code(root: Path, packages: Sequence[str]) -> CodeTree | None:
    """What of a harness's `packages` is here: folders, and requirements files with those that they name.
    Paths are those from the catalog's `root`. None where all of them come from a package index."""
    found: dict[str, Path] = {}
    for package in filter(is_local, packages):
        for name in _with_requirements(root, _inside(package)):
            found |= _below(root, name)
    return tree_of(found, str(root)) if found else None


def _inside(package: str) -> str:
    """A local package's path below the catalog's root."""
    path = PurePosixPath(package)
    if path.is_absolute() or ".." in path.parts:
        raise Refused(
            f"package {package!r} lies outside of the catalog's folder, so it can't be shipped",
            hint="move it below the folder of mapping.toml, or name a released version (NAME==VERSION)",
        )
    return str(path)


def _below(root: Path, name: str) -> dict[str, Path]:
    place = root / name
    if not place.is_dir():
        return collect(root, [name])
    # As a root of its own: what its packaging leaves in build/ and dist/ isn't code.
    return {str(PurePosixPath(name, sub)): file for sub, file in collect(place).items()}


def _with_requirements(root: Path, name: str, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """`name`, and the requirements and constraints files that it names, which are relative to it."""
    if name in seen:
        return
    yield name
    if not (root / name).is_file():
        return
    for line in (root / name).read_text("utf-8", "replace").splitlines():
        if (named := _REQUIREMENTS.match(line)) and "://" not in named[1]:
            path = os.path.normpath(PurePosixPath(name).parent / named[1])
            yield from _with_requirements(root, _inside(path), (*seen, name))
