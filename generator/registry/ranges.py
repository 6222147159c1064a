"""Blobs of one repository, whole or in windows, over whatever a registry makes of a Range request.

RFC 9110, 14: a server may ignore Range and answer 200 with everything, and may answer 206 with less than was
asked for. Registries often redirect blobs to signed addresses that expire.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from catalog.errors import EvaldockError, Refused, Unreachable
from catalog.references import Digest
from generator.images.source import Descriptor, NoRanges
from generator.registry.body import Body, Meter
from generator.registry.client import RegistryClient
from generator.registry.http import LOST, HttpError
from generator.registry.urls import origin

T = TypeVar("T")

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
# How much of a blob is read and thrown away to get at a window that the server won't start at.
_MAX_SKIP = 1024 * 1024
# What storage says of a signed address that it no longer honours.
_EXPIRED = (301, 302, 303, 307, 308, 400, 401, 403, 404, 410)


@dataclass(slots=True)
class _Stream:
    """A 200 that is being read in order; `position` is the offset of the next byte."""

    body: Body
    position: int


class BlobReader:
    def __init__(self, client: RegistryClient, repository: str, meter: Meter) -> None:
        self._client = client
        self._repository = repository
        self._meter = meter
        self._lock = threading.Lock()
        self._redirects: dict[Digest, str] = {}
        self._streams: dict[Digest, _Stream] = {}
        self._reached: dict[Digest, int] = {}  # how far each was read without a gap

    def whole(self, blob: Descriptor) -> bytes:
        """Everything the server sends, at most one byte more than `blob.size`. Not verified."""
        return self._get(blob, lambda body: body.read(blob.size + 1), {})

    def window(self, blob: Descriptor, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer only at the end of the blob. Raises NoRanges, Refused."""
        length = min(length, blob.size - start)
        if start < 0 or length <= 0:
            return b""
        data = self._continued(blob, start, length)
        while len(data) < length:
            data += self._ranged(blob, start + len(data), length - len(data))
        with self._lock:
            reached = self._reached.get(blob.digest, 0)
            if start <= reached:
                self._reached[blob.digest] = max(reached, start + length)
        return data

    def close(self) -> None:
        with self._lock:
            streams = list(self._streams.values())
            self._streams.clear()
        for stream in streams:
            stream.body.close()

    def _ranged(self, blob: Descriptor, start: int, length: int) -> bytes:
        def read(body: Body) -> bytes:
            if body.status == 206:
                return body.exactly(self._granted(body, blob, start, length))
            return self._from_whole(body, blob, start, length)

        return self._get(blob, read, {"Range": f"bytes={start}-{start + length - 1}"})

    def _granted(self, body: Body, blob: Descriptor, start: int, length: int) -> int:
        """How many bytes a 206 holds, once its Content-Range is what was asked for."""
        given = body.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(given)
        if found is None:
            raise self._refused(blob, f"a part without a Content-Range ({given[:100]!r})")
        first, last = int(found[1]), int(found[2])
        if first != start or not start <= last < start + length:
            raise self._refused(blob, f"bytes {first}-{last} instead of bytes {start}-{start + length - 1}")
        if found[3] != "*" and int(found[3]) != blob.size:
            raise self._refused(blob, f"a part of {found[3]} bytes; its manifest says {blob.size}")
        return last - first + 1

    def _from_whole(self, body: Body, blob: Descriptor, start: int, length: int) -> bytes:
        stated = body.headers.get("Content-Length", str(blob.size))
        if stated != str(blob.size):
            raise self._refused(blob, f"{stated[:20]} bytes; its manifest says {blob.size}")
        if start > max(_MAX_SKIP, self._reached.get(blob.digest, 0)):
            raise NoRanges(
                f"{self._client.registry} ignores ranges: to get at byte {start} of {blob.digest} "
                "everything before it would have to be read",
                place=f"{self._client.registry}/{self._repository}",
            )
        body.skip(start)
        data = body.exactly(length)
        if start + length < blob.size:
            body.keep()
            self._put(blob.digest, _Stream(body, start + length))
        return data

    def _continued(self, blob: Descriptor, start: int, length: int) -> bytes:
        """From where an earlier 200 stands, or nothing if it stands elsewhere or has ended."""
        with self._lock:
            stream = self._streams.pop(blob.digest, None)
        if stream is None:
            return b""
        done = False
        try:
            if not stream.position <= start <= stream.position + _MAX_SKIP:
                return b""
            stream.body.skip(start - stream.position)
            data = stream.body.exactly(length)
            stream.position = start + length
            done = stream.position < blob.size
        except LOST:
            return b""
        finally:
            if not done:
                stream.body.close()
        if done:
            self._put(blob.digest, stream)
        return data

    def _put(self, digest: Digest, stream: _Stream) -> None:
        with self._lock:
            older = self._streams.pop(digest, None)
            self._streams[digest] = stream
        if older:
            older.body.close()

    def _get(self, blob: Descriptor, read: Callable[[Body], T], headers: Mapping[str, str]) -> T:
        remembered = self._redirects.get(blob.digest)
        if remembered:
            try:
                return self._client.fetch_directly(remembered, read, meter=self._meter, headers=headers)
            except (HttpError, Unreachable) as error:
                if isinstance(error, HttpError) and error.status not in _EXPIRED:
                    raise self._failure(error, blob) from None
                self._redirects.pop(blob.digest, None)
        try:
            return self._resolved(blob, read, headers)
        except HttpError as error:
            # An address can be stale even when it is fresh from the registry, out of a cache of its own.
            if error.status not in _EXPIRED or not self._elsewhere(error.url):
                raise self._failure(error, blob) from None
        try:
            return self._resolved(blob, read, headers)
        except HttpError as error:
            raise self._failure(error, blob) from None

    def _resolved(self, blob: Descriptor, read: Callable[[Body], T], headers: Mapping[str, str]) -> T:
        def remembering(body: Body) -> T:
            if self._elsewhere(body.url):
                self._redirects[blob.digest] = body.url
            return read(body)

        path = f"/v2/{self._repository}/blobs/{blob.digest}"
        return self._client.fetch(
            "GET", path, self._repository, remembering, meter=self._meter, headers=headers
        )

    def _elsewhere(self, url: str) -> bool:
        return origin(url) != origin(self._client.base)

    def _failure(self, error: HttpError, blob: Descriptor) -> EvaldockError:
        return self._client.failure(error, self._repository, f"blob {blob.digest}")

    def _refused(self, blob: Descriptor, what: str) -> Refused:
        place = f"{self._client.registry}/{self._repository}"
        return Refused(f"of blob {blob.digest} the registry sends {what}", place=place)
