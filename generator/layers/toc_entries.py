"""The JSON that eStargz and zstd:chunked share: one entry per tar member, in the order of the tar.

Source: the "TOC and TOCEntries" section of the eStargz specification; zstd:chunked adds `endOffset`. Chunk
entries follow their file. A file's chunks are contiguous, so only their digests matter here, and only where
the file has no digest of its own.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.errors import UsageError
from catalog.references import Digest
from generator.layers.member import Kind, Member
from generator.layers.names import clean, text

# A layer of 44,000 members has about 10 MB of JSON. At this limit parsing takes some 150 MB for a moment.
JSON_LIMIT = 48 << 20
COMPRESSED_LIMIT = 16 << 20

_KINDS: Mapping[str, Kind] = {
    "dir": Kind.DIRECTORY,
    "reg": Kind.FILE,
    "symlink": Kind.SYMLINK,
    "hardlink": Kind.HARDLINK,
    "char": Kind.OTHER,
    "block": Kind.OTHER,
    "fifo": Kind.OTHER,
}


class MalformedToc(Exception):
    """What claims to be a table of contents and can't be used as one. Never leaves `generator.layers.toc`."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`start` and `size` in bytes of the uncompressed file; size 0 means to the end of the file."""

    start: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a non-empty file lies in the blob: compressed bytes from `start`, none of them at or after `end`.

    `skip` uncompressed bytes come before the file's own. `digest` is that of the file, empty where none is.
    """

    start: int
    end: int
    skip: int
    digest: str
    chunks: Sequence[Chunk]


@dataclass(slots=True)
class _Raw:
    name: str
    kind: str
    size: int
    link: str
    start: int
    end: int
    skip: int
    digest: str
    chunk: Chunk


def parse(data: bytes, payload_end: int) -> tuple[tuple[Member, ...], Mapping[str, Place]]:
    """Members in the order of the tar, and the place of every non-empty file by path (the last one wins).

    `payload_end` is where the blob's tar members end and its table of contents begins. Raises MalformedToc.
    """
    try:
        document = json.loads(data, object_hook=_compact)
    except (ValueError, RecursionError) as error:
        raise MalformedToc(f"not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise MalformedToc("not version 1")
    entries = document.get("entries")
    if not isinstance(entries, list) or not all(isinstance(entry, _Raw) for entry in entries):
        raise MalformedToc("entries are not a list of objects with name and type")
    return _members(entries), _places(entries, payload_end)


def _compact(found: dict[str, Any]) -> Any:
    # Called for the innermost objects first, so that the whole tree of dicts never exists at once.
    if "type" not in found:
        return found
    return _Raw(
        name=_text(found, "name"),
        kind=_text(found, "type"),
        size=_number(found, "size"),
        link=_text(found, "linkName"),
        start=_number(found, "offset"),
        end=_number(found, "endOffset"),
        skip=_number(found, "innerOffset"),
        digest=_digest(found, "digest"),
        chunk=Chunk(
            _number(found, "chunkOffset"), _number(found, "chunkSize"), _digest(found, "chunkDigest")
        ),
    )


def _members(entries: Sequence[_Raw]) -> tuple[Member, ...]:
    members: list[Member] = []
    for entry in entries:
        if entry.kind == "chunk":
            continue
        kind = _KINDS.get(entry.kind)
        if kind is None:
            raise MalformedToc(f"unknown type {entry.kind[:40]!r}")
        members.append(
            Member(
                path=_normal(entry.name),
                kind=kind,
                size=entry.size if kind is Kind.FILE else 0,
                target=_normal(entry.link) if kind is Kind.HARDLINK else entry.link,
            )
        )
    return tuple(members)


def _places(entries: Sequence[_Raw], payload_end: int) -> Mapping[str, Place]:
    # eStargz gives no end: a file's bytes lie before whatever starts next in the blob. Several small files
    # may share one start.
    starts = sorted({entry.start for entry in entries if entry.start})
    starts.append(payload_end)
    places: dict[str, Place] = {}
    chunks: list[Chunk] = []
    last_start = 0
    for entry in reversed(entries):
        if entry.kind not in ("reg", "chunk"):
            continue
        last_start = last_start or entry.start
        chunks.append(entry.chunk)
        if entry.kind == "chunk":
            continue
        if entry.size:
            end = entry.end or starts[bisect_right(starts, last_start, hi=len(starts) - 1)]
            # Only a member's header can be first in the blob, so a file at 0 shares its stream with one.
            if not (entry.start + entry.skip > 0 and entry.start < end <= payload_end):
                raise MalformedToc(f"{entry.name[:200]!r} lies outside the layer")
            # Backwards: the first one met is the last one in the tar, which wins.
            place = Place(entry.start, end, entry.skip, entry.digest, tuple(reversed(chunks)))
            places.setdefault(_normal(entry.name), place)
        chunks, last_start = [], 0
    return places


def _normal(name: str) -> str:
    # JSON may hold surrogates that no file name has.
    return text(clean(name.encode("utf-8", "surrogatepass")))


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key, "")
    if not isinstance(value, str):
        raise MalformedToc(f"{key} is not text")
    return value


def _number(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise MalformedToc(f"{key} is not a position or size")
    return value


def _digest(found: Mapping[str, Any], key: str) -> str:
    value = _text(found, key)
    if value:
        try:
            Digest.parse(value)
        except UsageError:
            raise MalformedToc(f"{key} is not a digest") from None
    return value
