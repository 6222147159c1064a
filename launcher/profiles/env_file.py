"""env.toml: where it is found, what it holds, and where in it something stands.

Its tables are profiles (see `launcher.profiles.profile`), but for the special sections, which hold settings
that belong to no single profile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from catalog.errors import InvalidInput, NotFound
from catalog.toml_lines import lines_of

VARIABLE = "EVALDOCK_ENV_FILE"
FILE_NAME = "env.toml"
SPECIAL = ("wandb", "cli", "cache", "artifacts")
WHERE = f"it is looked for here and upwards as far as a pyproject.toml; {VARIABLE} can name it"
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """`lines` leads from a key path such as `("prod", "keys")` to its 1-based line."""

    path: Path
    tables: Mapping[str, Mapping[str, Any]]
    lines: Mapping[tuple[str, ...], int]

    @property
    def profiles(self) -> tuple[str, ...]:
        return tuple(name for name in self.tables if name not in SPECIAL)

    def section(self, name: str) -> Mapping[str, Any]:
        """A special section, empty where it is missing."""
        return self.tables.get(name, {})

    def place(self, path: Sequence[str]) -> str:
        """File and line of a key, or else of what it stands in."""
        parts = tuple(path)
        for length in range(len(parts), 0, -1):
            if parts[:length] in self.lines:
                return f"{self.shown}:{self.lines[parts[:length]]}"
        return self.shown

    @property
    def shown(self) -> str:
        """The path for people: short where it lies below the working folder."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)


def find(environ: Mapping[str, str] = os.environ, start: Path | None = None) -> Path | None:
    """EVALDOCK_ENV_FILE, else env.toml of `start` (the working folder) or of the nearest folder above it, as
    far as the first that has a pyproject.toml.

    Raises NotFound for a variable that names no file.
    """
    chosen = environ.get(VARIABLE)
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise NotFound(f"{VARIABLE} names no file: {chosen!r}", hint=f"mend it, or `unset {VARIABLE}`")
        return path
    folder = (start or Path.cwd()).resolve()
    for each in (folder, *folder.parents):
        if (each / FILE_NAME).is_file():
            return each / FILE_NAME
        if (each / "pyproject.toml").is_file():
            return None
    return None


def read(path: Path) -> EnvFile:
    """Raises NotFound, or InvalidInput for what isn't TOML or has values outside tables."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(f"there is no {path.name}", place=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise InvalidInput("not an env.toml:", [f"larger than {MAX_BYTES >> 20} MiB"], place=str(path))
    try:
        text = raw.decode()
        tables = tomli.loads(text)
    except (UnicodeDecodeError, tomli.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput("not valid TOML:", [str(error)], place=str(path)) from None
    made = EnvFile(path=path, tables=tables, lines=lines_of(text.replace("\r\n", "\n")))
    loose = [name for name, table in tables.items() if not isinstance(table, dict)]
    if loose:
        problems = [f"{made.place((name,))}: {name}: stands outside every table" for name in loose]
        raise InvalidInput(
            "env.toml holds tables only:", problems, hint="put it below the [name] of a profile"
        )
    return made


def load(environ: Mapping[str, str] = os.environ, start: Path | None = None) -> EnvFile | None:
    """The env.toml that holds here, None where there is none."""
    path = find(environ, start)
    return read(path) if path else None


def section(name: str, environ: Mapping[str, str] = os.environ) -> Mapping[str, Any]:
    """A special section of the env.toml that holds here; empty where either is missing."""
    found = load(environ)
    return found.section(name) if found else {}
