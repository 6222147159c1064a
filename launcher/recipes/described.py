"""What `evaldock help recipe.py` shows: a recipe's documentation, configurations, overrides and profiles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError
from launcher.recipes.runspec import Runspec
from launcher.recipes.runspec_reading import read_script

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One in the recipe's folder; `says` is the comment that it begins with."""

    name: str
    default: bool
    says: str


def documentation(spec: Runspec) -> str:
    """Its own words, else its script's docstring."""
    if spec.docs:
        return spec.docs.strip()
    try:
        return (ast.get_docstring(ast.parse(read_script(spec.script))) or "").strip()
    except (SyntaxError, ValueError):
        return ""


def configurations(spec: Runspec) -> list[Configuration]:
    files = sorted(spec.config_dir.glob("*")) if spec.config_dir.is_dir() else []
    return [
        Configuration(name=file.stem, default=file.stem == spec.config.default, says=_first_comment(file))
        for file in files
        if file.suffix in _YAML and file.is_file()
    ]


def overrides(spec: Runspec) -> tuple[list[tuple[str, Any]], str]:
    """Key paths of the default configuration with their values, and what kept them from being had."""
    from launcher.configuration.compose import compose  # noqa: PLC0415 # OmegaConf
    from launcher.recipes.compiling import configuration_file  # noqa: PLC0415

    try:
        file = configuration_file(spec, None)
        return (list(_leaves((), compose(file, ()).data)) if file else []), ""
    except EvaldockError as error:
        return [], str(error)


def profiles() -> tuple[list[tuple[str, str, str]], str]:
    """Name, backend and description of each profile of the env.toml that holds here, and what is wrong."""
    from launcher.profiles import env_file  # noqa: PLC0415
    from launcher.profiles.profile import of_file  # noqa: PLC0415 # pydantic

    try:
        file = env_file.load()
        if file is None:
            return [], ""
        found = [of_file(file, name) for name in file.profiles]
    except EvaldockError as error:
        return [], str(error)
    return [(profile.name, profile.backend or "", profile.description) for profile in found], ""


def _leaves(path: tuple[str, ...], data: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from _leaves((*path, str(key)), value)
    else:
        yield ".".join(path), data


def _first_comment(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            first = lines.readline(500)
    except OSError:
        return ""
    return first.removeprefix("#").strip() if first.startswith("#") else ""
