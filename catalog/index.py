"""The index of a catalog, `ir/index.yaml`, as plain data: what was read, from what, all checksums.

No dates and no versions of tools: the same catalog gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.models import Entry, EntryState, FrameworkSource, Image, MappingEntry

VERSION = 1
FOLDER = "ir"
FILE_NAME = "index.yaml"
SAFE_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}\.yaml")


class Malformed(ValueError):
    """An index of another shape; the message has the key path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessFile:
    """A line of the index: which file below `ir/` holds which harness. `sha256` is of the whole file."""

    name: str
    file: str
    sha256: str
    sources: tuple[FrameworkSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """An entry whose harnesses are still files; `entry.harnesses` is empty."""

    entry: Entry
    files: tuple[HarnessFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    mapping_sha256: str
    entries: tuple[IndexEntry, ...]

    @property
    def files(self) -> tuple[HarnessFile, ...]:
        return tuple(file for entry in self.entries for file in entry.files)


def to_data(index: Index) -> dict[str, Any]:
    return {
        "version": VERSION,
        "mapping_sha256": index.mapping_sha256,
        "entries": [_entry_data(each.entry, each.files) for each in index.entries],
    }


def _entry_data(entry: Entry, files: Sequence[HarnessFile]) -> dict[str, Any]:
    data: dict[str, Any] = {"key": entry.mapping.key, "mapping": mapping_data(entry.mapping)}
    data["state"] = entry.state.value
    if entry.reason is not None:
        data["reason"] = entry.reason
    if entry.image is not None:
        data["image"] = {
            "digest": entry.image.digest,
            "manifest_digest": entry.image.manifest_digest,
            "platform": entry.image.platform,
            "platforms": list(entry.image.platforms),
            "complete": entry.image.complete,
        }
    data["harnesses"] = [
        {
            "name": file.name,
            "file": file.file,
            "sha256": file.sha256,
            "sources": [
                {"path": source.path, "layer": source.layer, "sha256": source.sha256}
                for source in file.sources
            ],
        }
        for file in files
    ]
    return data


def mapping_data(entry: MappingEntry) -> dict[str, Any]:
    """The table of mapping.toml, without what it leaves out."""
    data: dict[str, Any] = {"container": entry.container}
    if entry.platform is not None:
        data["platform"] = entry.platform
    if entry.packages:
        data["packages"] = list(entry.packages)
    if entry.abilities:
        data["abilities"] = list(entry.abilities)
    return data


def from_data(data: Any) -> Index:
    """Raises Malformed for data of another shape, whoever wrote it."""
    top = _mapping(data, "the index")
    if top.get("version") != VERSION:
        raise Malformed(f"version: expected {VERSION}, found {top.get('version')!r:.40}")
    entries = _list(top, "entries", "the index")
    return Index(
        mapping_sha256=_text(top, "mapping_sha256", "the index"),
        entries=tuple(_entry(each, f"entries[{at}]") for at, each in enumerate(entries)),
    )


def _entry(value: Any, path: str) -> IndexEntry:
    data = _mapping(value, path)
    mapping = _mapping(data.get("mapping"), f"{path}.mapping")
    entry = MappingEntry(
        key=_text(data, "key", path),
        container=_text(mapping, "container", f"{path}.mapping"),
        platform=_text(mapping, "platform", f"{path}.mapping") if "platform" in mapping else None,
        packages=_texts(mapping, "packages", f"{path}.mapping"),
        abilities=_texts(mapping, "abilities", f"{path}.mapping"),
    )
    try:
        state = EntryState(_text(data, "state", path))
    except ValueError as error:
        raise Malformed(f"{path}.state: {error}") from None
    files = _list(data, "harnesses", path)
    if files and "image" not in data:
        raise Malformed(f"{path}: harnesses without an image")
    return IndexEntry(
        entry=Entry(
            mapping=entry,
            state=state,
            reason=_text(data, "reason", path) if "reason" in data else None,
            image=_image(data["image"], entry.container, f"{path}.image") if "image" in data else None,
        ),
        files=tuple(_file(each, f"{path}.harnesses[{at}]") for at, each in enumerate(files)),
    )


def _image(value: Any, container: str, path: str) -> Image:
    data = _mapping(value, path)
    return Image(
        container=container,
        digest=_text(data, "digest", path),
        manifest_digest=_text(data, "manifest_digest", path),
        platform=_text(data, "platform", path),
        platforms=_texts(data, "platforms", path),
        complete=data.get("complete") is True,
    )


def _file(value: Any, path: str) -> HarnessFile:
    data = _mapping(value, path)
    file = _text(data, "file", path)
    if not SAFE_FILE.fullmatch(file) or file.lower() == FILE_NAME:
        raise Malformed(f"{path}.file: not a file name below ir/: {file!r:.80}")
    sources = [
        _mapping(each, f"{path}.sources[{at}]") for at, each in enumerate(_list(data, "sources", path))
    ]
    return HarnessFile(
        name=_text(data, "name", path),
        file=file,
        sha256=_text(data, "sha256", path),
        sources=tuple(
            FrameworkSource(
                path=_text(source, "path", f"{path}.sources"),
                layer=_text(source, "layer", f"{path}.sources"),
                sha256=_text(source, "sha256", f"{path}.sources"),
            )
            for source in sources
        ),
    )


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{path}: expected a mapping, found {type(value).__name__}")
    return value


def _list(data: Mapping[str, Any], key: str, path: str) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise Malformed(f"{path}.{key}: expected a list, found {type(value).__name__}")
    return value


def _text(data: Mapping[str, Any], key: str, path: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise Malformed(f"{path}.{key}: expected text, found {type(value).__name__}")
    return value


def _texts(data: Mapping[str, Any], key: str, path: str) -> tuple[str, ...]:
    value = _list(data, key, path)
    if not all(isinstance(item, str) for item in value):
        raise Malformed(f"{path}.{key}: expected a list of texts")
    return tuple(value)
