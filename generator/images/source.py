"""What every transport offers a reader: an image's manifest, and its blobs in windows.

Registry, `oci:` folder, `oci-archive:` file and `docker-daemon:` each implement `ImageSource`; everything
above them (the strategy ladder, the sync) sees nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from catalog.errors import Refused
from catalog.references import Digest


class NoRanges(Refused):
    """The other side sends a blob from its start or not at all, and the window asked for lies far inside.

    Reading the blob in order, window after window from 0, still works.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """OCI content descriptor: `size` in bytes of the blob as stored (compressed)."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """One platform's image. `digest` is that of the index the reference named, or of the manifest where there
    was none; `raw` are the manifest's own bytes, whose sha256 `manifest_digest` is.
    `layers` run from the base upwards. `platforms` are those the index offers, attestations left out."""

    digest: Digest
    manifest_digest: Digest
    raw: bytes
    config: Descriptor
    layers: Sequence[Descriptor]
    platform: str
    platforms: Sequence[str]
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Cost:
    """What a read asked of the other side: HTTP requests (token requests too) and body bytes received."""

    requests: int = 0
    bytes: int = 0


class ImageSource(Protocol):
    """One image of one transport. Safe to use from several threads. Errors are those of catalog.errors:
    NotFound, Unreachable, Refused."""

    cost: Cost

    def head(self) -> Digest | None:
        """The digest the reference points at now, as cheaply as possible (None: not to be had cheaply)."""

    def resolve(self, platform: str | None) -> ResolvedImage:
        """Chooses the platform (None: linux/amd64 or the only one there is) and verifies every digest."""

    def blob(self, descriptor: Descriptor) -> bytes:
        """A small blob, whole and verified."""

    def read_range(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; fewer only at the end of the blob. Not verified."""

    def referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """Descriptors of manifests that refer to `subject` (API first, then fallback tag)."""

    def manifest(self, digest: Digest) -> bytes:
        """A manifest of the same repository by digest, verified (for referrers)."""

    def close(self) -> None: ...
