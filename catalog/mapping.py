"""mapping.toml: which images a catalog is made of. Edited by people, so every mistake is told with its line.

    [mmath]
    container = "registry.example/team/mmath:1.0"   # or "oci:layouts/mmath", relative to the catalog
    platform = "linux/amd64"                        # optional
    packages = ["mmath-harness==1.0"]               # optional: the same harness without a container
    abilities = ["resume", "shards"]                # optional: what the harness can do for a launcher

NeMo Evaluator Launcher's mapping.toml is read as it is. Its `# container-digest:` comments are comments: a
digest that shall count stands in `container`, as `name:tag@sha256:…`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import tomli

from catalog.errors import InvalidInput, NotFound, UsageError
from catalog.models import MappingEntry
from catalog.nearest import did_you_mean
from catalog.references import ImageRef, Transport
from catalog.toml_lines import lines_of

FILE_NAME = "mapping.toml"
FIELDS = ("container", "platform", "packages", "abilities")
ABILITIES = ("resume", "shards")
MAX_BYTES = 4 << 20

KEY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]{0,98}[A-Za-z0-9_+-])?")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9_.]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """A read mapping.toml. `entries` in the file's order; `warnings` are complete lines. `lines` leads
    from a key path such as `("mmath", "container")` to its 1-based line."""

    path: Path
    raw: bytes
    sha256: str
    entries: tuple[MappingEntry, ...]
    warnings: tuple[str, ...]
    lines: MappingType[tuple[str, ...], int]

    def entry(self, key: str) -> MappingEntry:
        """Raises NotFound with near names."""
        for entry in self.entries:
            if entry.key == key:
                return entry
        keys = [entry.key for entry in self.entries]
        raise NotFound(f"no entry {key!r}{did_you_mean(key, keys)}", place=str(self.path))

    def image(self, entry: MappingEntry) -> ImageRef:
        return image_of(entry, self.path.parent)


def image_of(entry: MappingEntry, root: Path) -> ImageRef:
    """The image of an entry; `oci:` paths start from `root`, the catalog's folder."""
    return ImageRef.parse(entry.container, base=root)


def read(path: Path) -> Mapping:
    """Raises NotFound, or InvalidInput with all mistakes of the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(
            "there is no mapping.toml", place=str(path), hint="`evaldock init` makes a new catalog"
        ) from None
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> Mapping:
    """As `read`, from bytes."""
    if len(raw) > MAX_BYTES:
        raise InvalidInput("not a mapping", [f"larger than {MAX_BYTES >> 20} MiB"], place=str(path))
    try:
        text = raw.decode()
        tables = tomli.loads(text)
    except UnicodeDecodeError as error:
        raise InvalidInput("not UTF-8 text", [str(error)], place=str(path)) from None
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput("not valid TOML", [str(error)], place=str(path)) from None
    reader = _Reader(lines=lines_of(text.replace("\r\n", "\n")))
    entries = [entry for key, table in tables.items() if (entry := reader.entry(key, table)) is not None]
    if reader.problems:
        what = "this mapping has mistakes" if len(reader.problems) > 1 else "this mapping has a mistake"
        raise InvalidInput(what, reader.problems, place=str(path))
    return Mapping(
        path=path,
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        entries=tuple(entries),
        warnings=tuple(reader.warnings),
        lines=reader.lines,
    )


class _Reader:
    """Collects what is wrong instead of stopping at the first of it."""

    def __init__(self, lines: dict[tuple[str, ...], int]) -> None:
        self.lines = lines
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def entry(self, key: str, table: Any) -> MappingEntry | None:
        if not isinstance(table, dict):
            self._wrong((key,), f"expected a table [{key}], found {_kind(table)}")
            return None
        before = len(self.problems)
        if not KEY.fullmatch(key):
            self._wrong((key,), "an entry is named by letters, digits, '.', '_', '-' and '+', at most 100")
        for name in table.keys() - set(FIELDS):
            self.warnings.append(self._at((key, name), f"unknown key{did_you_mean(name, FIELDS)}"))
        entry = MappingEntry(
            key=key,
            container=self._container(key, table),
            platform=self._platform(key, table),
            packages=self._packages(key, table),
            abilities=self._abilities(key, table),
            line=self._line((key, "container")) or 0,
        )
        return entry if len(self.problems) == before else None

    def _container(self, key: str, table: dict[str, Any]) -> str:
        where = (key, "container")
        container = table.get("container")
        if container is None:
            self._wrong(where, 'missing; expected for example container = "registry.example/team/name:1.0"')
        elif not isinstance(container, str):
            self._wrong(where, f"expected text, found {_kind(container)}")
        elif not container.strip().isprintable():
            self._wrong(where, f"not printable: {container!r:.80}")
        else:
            self._image(where, container)
            return container.strip()
        return ""

    def _image(self, where: tuple[str, ...], container: str) -> None:
        try:
            image = ImageRef.parse(container)
        except UsageError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self._wrong(where, f"{error.message}{hint}")
            return
        if image.transport not in (Transport.REGISTRY, Transport.OCI):
            self._wrong(where, f"{image.transport}: is for one machine; a catalog names a registry or oci:")
        elif image.path is not None and PurePosixPath(image.path).is_absolute():
            self._wrong(where, "an oci: path in a catalog is relative to the folder of mapping.toml")

    def _platform(self, key: str, table: dict[str, Any]) -> str | None:
        platform = table.get("platform")
        if platform is None or (isinstance(platform, str) and _PLATFORM.fullmatch(platform)):
            return platform
        self._wrong((key, "platform"), f"expected for example 'linux/amd64', found {platform!r:.80}")
        return None

    def _packages(self, key: str, table: dict[str, Any]) -> tuple[str, ...]:
        packages = self._texts((key, "packages"), table.get("packages", []))
        for package in packages:
            # They become arguments of an installer.
            if package.startswith("-") or not package.isprintable():
                self._wrong((key, "packages"), f"neither a requirement nor a folder: {package!r:.80}")
        return packages

    def _abilities(self, key: str, table: dict[str, Any]) -> tuple[str, ...]:
        abilities = self._texts((key, "abilities"), table.get("abilities", []))
        for ability in abilities:
            if ability not in ABILITIES:
                known = f"; known are {', '.join(ABILITIES)}"
                self._wrong((key, "abilities"), f"unknown ability {ability!r:.80}{known}")
        return abilities

    def _texts(self, where: tuple[str, ...], value: Any) -> tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
            return tuple(value)
        self._wrong(where, "expected a list of texts")
        return ()

    def _wrong(self, where: tuple[str, ...], message: str) -> None:
        self.problems.append(self._at(where, message))

    def _at(self, where: tuple[str, ...], message: str) -> str:
        line = self._line(where)
        return f"{f'line {line}: ' if line else ''}{'.'.join(where)}: {message}"

    def _line(self, where: tuple[str, ...]) -> int | None:
        """Of the key, else of what it stands in."""
        return next(
            (self.lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self.lines), None
        )


def _kind(value: Any) -> str:
    names = {
        str: "text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), type(value).__name__)
