"""The catalog as values: what every part of evaldock passes around.

Plain frozen dataclasses, so that listing a catalog imports nothing heavy. Reading and checking them from
files is `catalog.store`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EntryState(StrEnum):
    CURRENT = "current"
    STALE = "stale"  # the last read failed; the IR is that of the last good one
    IMPORTED = "imported"  # taken over from another tool's file; evaldock has not read the image itself


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingEntry:
    """A table of mapping.toml. `key` names the entry, not the harness.

    `packages` install the same harness without a container: PyPI requirements, or folders relative to the
    catalog. `abilities` are what its harness can do for a launcher: `resume`, `shards`. `line` (1-based) is
    where `container` stands in mapping.toml; it is for messages and never stored.
    """

    key: str
    container: str
    platform: str | None = None
    packages: tuple[str, ...] = ()
    abilities: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkSource:
    """Where a framework.yml was found: path in the image, digest of its layer, sha256 (hex) of its bytes."""

    path: str
    layer: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The image behind a harness. `digest` is that of the index where there is one, else of the manifest;
    `manifest_digest` that of the platform's manifest. `platforms` are all that the index offers
    (`linux/amd64`), or the one of a single manifest. `complete` is False when layers were left unread.
    Of an imported image (`EntryState.IMPORTED`) any of the digests and platforms may be unknown: empty."""

    container: str
    digest: str
    manifest_digest: str
    platform: str
    platforms: tuple[str, ...]
    complete: bool = True

    @property
    def architectures(self) -> tuple[str, ...]:
        """`amd64`, `arm64`, … sorted; empty when unknown."""
        return tuple(sorted({p.split("/")[1] for p in self.platforms if "/" in p}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One evaluation. `defaults` is the effective task: `command`, `framework_name`, `pkg_name`, `config`,
    `target`, merged as in the framework definition format; treat it as read-only. It is plain JSON data:
    `dates` are JSON pointers (RFC 6901) to the texts in it that the definition wrote as YAML dates.
    `description_parts` stands when the definition gave a list, whose items `description` joins by newlines.
    `other` holds the keys beside `defaults` that the format does not know.
    """

    harness: str
    name: str
    description: str
    defaults: Mapping[str, Any]
    title: str | None = None
    internal: bool = False
    description_parts: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.harness}.{self.name}"

    @property
    def command(self) -> str:
        return str(self.defaults["command"])

    @property
    def params(self) -> Mapping[str, Any]:
        return self._config.get("params") or {}

    @property
    def endpoint_types(self) -> tuple[str, ...]:
        return tuple(self._config.get("supported_endpoint_types") or ())

    @property
    def capabilities(self) -> tuple[str, ...]:
        return tuple(self._config.get("required_capabilities") or ())

    @property
    def _config(self) -> Mapping[str, Any]:
        return self.defaults.get("config") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """What one framework definition declares, with the image that holds it.

    `command` is None when its tasks don't share one. `state` and `reason` are those of the mapping entry.
    `other` holds the keys of the definition's `framework` part that the format does not know.
    """

    name: str
    entry: str
    pkg_name: str
    image: Image
    sources: tuple[FrameworkSource, ...]
    tasks: tuple[Task, ...]
    full_name: str | None = None
    description: str | None = None
    url: str | None = None
    command: str | None = None
    packages: tuple[str, ...] = ()
    abilities: tuple[str, ...] = ()
    state: EntryState = EntryState.CURRENT
    reason: str | None = None
    ir_sha256: str = ""
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.full_name or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the index keeps of a table of mapping.toml. `mapping` is what the IR was read from, so for a stale
    entry it may differ from what mapping.toml says now; `image` is None as long as no read succeeded."""

    mapping: MappingEntry
    state: EntryState = EntryState.CURRENT
    reason: str | None = None
    image: Image | None = None
    harnesses: tuple[Harness, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A loaded catalog. `problems` are the ways in which it doesn't verify (empty: it does), each a line for
    people; `root` is shown in messages only. `entries` hold the same harnesses, those never read too."""

    root: str
    mapping_sha256: str
    harnesses: tuple[Harness, ...]
    problems: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for harness in self.harnesses for task in harness.tasks)

    @property
    def verified(self) -> bool:
        return not self.problems

    def harness(self, name: str) -> Harness | None:
        return next((h for h in self.harnesses if h.name == name), None)
