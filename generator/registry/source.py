"""An image in a registry, by the OCI distribution-spec (and Docker's registry API, which it grew from)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from catalog.errors import NotFound, Refused, UsageError
from catalog.references import Digest, ImageRef
from generator.images import manifest as manifests
from generator.images.resolving import resolve
from generator.images.source import Cost, Descriptor, ResolvedImage
from generator.registry.body import Body, Meter
from generator.registry.client import Network, RegistryClient, shared_network
from generator.registry.http import HttpError
from generator.registry.ranges import BlobReader
from generator.registry.referrers import list_referrers

logger = logging.getLogger(__name__)
T = TypeVar("T")

ACCEPT = ", ".join((*manifests.INDEX_TYPES, *manifests.MANIFEST_TYPES))
# Blobs read whole are configs, sidecars and small layers.
MAX_BLOB = 32 * 1024 * 1024
_KEPT_BLOB = 256 * 1024


class RegistrySource:
    """Implements `generator.images.source.ImageSource`.

    What the reference points at is fetched once: every answer of one source is about the same bytes, even if
    the tag moves meanwhile. `network` defaults to one shared by the whole process.
    """

    def __init__(self, ref: ImageRef, network: Network | None = None) -> None:
        self.ref = ref
        self.cost = Cost()
        self._meter = Meter(self.cost)
        self._client: RegistryClient = (network or shared_network()).client(ref.registry)
        self._reader = BlobReader(self._client, ref.repository, self._meter)
        self._lock = threading.Lock()
        self._seen: Digest | None = None  # what a HEAD said the tag points at
        self._root: tuple[Digest, bytes, str] | None = None
        self._manifests: dict[Digest, bytes] = {}
        self._blobs: dict[Digest, bytes] = {}

    def head(self) -> Digest | None:
        """The digest of the reference: its own one for free, a tag's for one HEAD (which Docker Hub doesn't
        count against its limit). None where the registry doesn't say it."""
        if self.ref.digest is not None:
            return self.ref.digest
        if self._root is not None:
            return self._root[0]
        try:
            found = self._fetch("HEAD", f"manifests/{self.ref.tag}", _digest_header, f"tag {self.ref.tag!r}")
        except Refused as error:
            # Some proxies let GET through only; if it is access that is missing, the GET will say so.
            logger.debug("%s: no HEAD: %s", self.ref, error)
            return None
        self._seen = found
        return found

    def resolve(self, platform: str | None) -> ResolvedImage:
        """See the protocol. Costs one request for a digest or tag, one more for the platform's manifest in an
        index, or for the config of a lone manifest."""
        digest, raw, media_type = self._fetch_root()
        return resolve(
            raw,
            digest=digest,
            platform=platform,
            place=str(self.ref),
            manifest=self.manifest,
            blob=self.blob,
            declared=media_type,
        )

    def platforms(self) -> tuple[str, ...]:
        """Those of an index; none for a lone manifest, which doesn't know its own."""
        _, raw, media_type = self._fetch_root()
        found = manifests.parse(raw, str(self.ref), media_type)
        return found.platforms if isinstance(found, manifests.Index) else ()

    def blob(self, descriptor: Descriptor) -> bytes:
        """See the protocol. At most 32 MiB. Small ones are kept for the life of this source."""
        kept = self._blobs.get(descriptor.digest)
        if kept is not None:
            return kept
        name = f"blob {descriptor.digest}"
        if descriptor.size > MAX_BLOB:
            raise Refused(
                f"{name} has {descriptor.size} bytes; at most {MAX_BLOB} are read whole", place=str(self.ref)
            )
        data = self._reader.whole(descriptor)
        if len(data) != descriptor.size or not descriptor.digest.matches(data):
            raise Refused(f"the content of {name} doesn't match its digest", place=str(self.ref))
        if len(data) <= _KEPT_BLOB:
            self._blobs[descriptor.digest] = data
        return data

    def read_range(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        """See the protocol. Raises NoRanges where the registry ignores ranges and `start` lies far ahead of
        what was read of this blob before; reading in order from the start always works."""
        return self._reader.window(descriptor, start, length)

    def referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        return list_referrers(self._client, self.ref.repository, subject, artifact_type, self._meter)

    def manifest(self, digest: Digest) -> bytes:
        kept = self._manifests.get(digest)
        if kept is None:
            kept, _ = self._fetch_manifest(str(digest), digest)
        return kept

    def close(self) -> None:
        self._reader.close()

    def _fetch_root(self) -> tuple[Digest, bytes, str]:
        with self._lock:
            if self._root is None:
                self._root = self._by_digest() or self._by_tag()
            return self._root

    def _by_digest(self) -> tuple[Digest, bytes, str] | None:
        digest = self.ref.digest or self._seen
        if digest is None:
            return None
        try:
            raw, media_type = self._fetch_manifest(str(digest), digest)
        except NotFound:
            if self.ref.digest is not None:
                raise
            return None  # the tag has moved since the HEAD, and what it pointed at is gone
        return digest, raw, media_type

    def _by_tag(self) -> tuple[Digest, bytes, str]:
        raw, media_type = self._fetch_manifest(str(self.ref.tag), None)
        return Digest.of(raw), raw, media_type

    def _fetch_manifest(self, name: str, digest: Digest | None) -> tuple[bytes, str]:
        def read(body: Body) -> tuple[bytes, str]:
            data = body.all(manifests.MAX_MANIFEST, "the manifest")
            return data, body.headers.get("Content-Type", "")

        called = f"manifest {digest}" if digest else f"tag {name!r}"
        raw, media_type = self._fetch("GET", f"manifests/{name}", read, called)
        if digest is not None and not digest.matches(raw):
            raise Refused(f"the registry answers other bytes than those of {digest}", place=str(self.ref))
        self._manifests[digest or Digest.of(raw)] = raw
        return raw, media_type

    def _fetch(self, method: str, path: str, read: Callable[[Body], T], name: str) -> T:
        repository = self.ref.repository
        try:
            return self._client.fetch(
                method,
                f"/v2/{repository}/{path}",
                repository,
                read,
                meter=self._meter,
                headers={"Accept": ACCEPT},
            )
        except HttpError as error:
            raise self._client.failure(error, repository, name) from None


def _digest_header(body: Body) -> Digest | None:
    try:
        return Digest.parse(body.headers.get("Docker-Content-Digest", ""))
    except UsageError:
        return None
