"""What reading an image answers: found, proved absent, or unknown, and how it came to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from catalog.references import Digest
from generator.images.source import Cost


class Status(StrEnum):
    FOUND = "found"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """`path` is absolute in the image, `sha256` the hex digest of `content`."""

    path: str
    layer: Digest
    sha256: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """`complete` is False when layers in `unread` could still hold, hide or replace a file. `route` names the
    rung of the ladder (cache, sidecar, toc, layers, scan), `verification` how the bytes were checked:
    `digest` (whole blobs against their digest), `toc`, `sidecar` or `partial` (stopped early, unverified).
    `notes` say why layers of `unread` can't be read."""

    image: str
    digest: Digest
    manifest_digest: Digest
    platform: str
    platforms: Sequence[str]
    status: Status
    complete: bool
    unread: Sequence[Digest]
    route: str
    verification: str
    cost: Cost
    files: Sequence[FoundFile]
    notes: Sequence[str] = ()
