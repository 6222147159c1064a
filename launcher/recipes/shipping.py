"""What of a recipe's surroundings goes with it, and what its first line says."""

from __future__ import annotations

from pathlib import Path

from catalog.errors import UsageError
from launcher.code import packaging
from launcher.code.packaging import CodeTree
from launcher.recipes.runspec import Runspec
from launcher.recipes.runspec_reading import read_script

_PROJECT = (".git", "pyproject.toml")


def code_of(spec: Runspec, what: str) -> tuple[CodeTree, str]:
    """What is shipped, and the script's path in it: the project that the script belongs to (`tree`), nothing
    else (`script`), or a folder that holds it."""
    root = root_of(spec, what)
    tree = packaging.self_contained(spec.script) if what == "script" else packaging.collect_tree(root)
    return tree, spec.script.relative_to(root).as_posix()


def root_of(spec: Runspec, what: str) -> Path:
    """The folder that the code's paths start from, `what` as in `code_of`. A project is the nearest folder
    with a .git or a pyproject.toml; without one, the script's own folder."""
    if what in ("tree", "script"):
        return project_of(spec.script) if what == "tree" else spec.script.parent
    root = Path(what).resolve()
    if not spec.script.is_relative_to(root):
        raise UsageError(
            f"{spec.script} is not below {root}", hint="--code names a folder that holds the recipe"
        )
    return root


def project_of(script: Path) -> Path:
    found = (each for each in script.parents if any((each / mark).exists() for mark in _PROJECT))
    return next(found, script.parent)


def shebang_of(script: Path) -> str:
    """The first line without its `#!`; empty where it has none."""
    first = read_script(script).partition("\n")[0]
    return first.removeprefix("#!").strip() if first.startswith("#!") else ""
