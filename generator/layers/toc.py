"""Reading single files of a layer by its table of contents, without the layer: eStargz and zstd:chunked.

A table of contents that can't be used, or that says something else than its annotation, counts as none: the
caller scans the layer instead. So does content that differs from its digest (`UnusableToc`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from catalog.errors import Refused
from catalog.references import Digest
from generator.images.source import Descriptor, ImageSource, NoRanges
from generator.layers import estargz, toc_entries, zstd_chunked
from generator.layers.limits import DEFAULT, LimitPassed
from generator.layers.member import Kind, Member
from generator.layers.toc_entries import MalformedToc, Place

# Compression can make a file larger: headers per chunk, and the tar headers that follow in the same stream.
_OVERHEAD = 64 << 10
_CHUNK_OVERHEAD = 64

_log = logging.getLogger(__name__)

# The first `wanted` uncompressed bytes of what was compressed.
_Unpack = Callable[[bytes, int], bytes]


class UnusableToc(Refused):
    """A file's bytes are not what the table of contents promised. Scanning the layer gives the true ones."""


@dataclass(frozen=True, slots=True)
class Toc:
    """`members` in the order of the tar, whiteouts among them. `verified`: the manifest vouches for the table
    of contents, and through it for every file read."""

    members: Sequence[Member]
    verified: bool
    _places: Mapping[str, Place]
    _source: ImageSource
    _layer: Descriptor
    _unpack: _Unpack

    def content(self, member: Member) -> bytes:
        """A file's bytes, checked against the digest in the table of contents; one request.

        Raises LimitPassed for a large file and UnusableToc, besides what `read_range` raises.
        """
        if member.kind is not Kind.FILE:
            raise self._unusable(f"{member.path!r} is a {member.kind}, not a file")
        if member.size > DEFAULT.file:
            raise LimitPassed(
                f"{member.path!r} has {member.size} bytes, more than {DEFAULT.file}",
                place=str(self._layer.digest),
            )
        if member.size == 0:
            return b""
        place = self._places.get(member.path)
        if place is None or place.skip > DEFAULT.file:
            raise self._unusable(f"no usable position of {member.path!r}")
        wanted = place.skip + member.size
        most = wanted + _OVERHEAD + _CHUNK_OVERHEAD * len(place.chunks)
        try:
            data = self._source.read_range(self._layer, place.start, min(place.end - place.start, most))
        except NoRanges as error:
            raise self._unusable(f"{member.path!r}: {error.message}") from None
        try:
            content = self._unpack(data, wanted)[place.skip :]
        except MalformedToc as error:
            raise self._unusable(f"{member.path!r}: {error}") from None
        if len(content) != member.size or not _matches(content, place):
            raise self._unusable(f"{member.path!r} is not what the table of contents says")
        return content

    def _unusable(self, message: str) -> UnusableToc:
        return UnusableToc(message, place=str(self._layer.digest), hint="the layer has to be scanned")


def announces_toc(layer: Descriptor) -> bool:
    """Whether the layer's annotations promise a table of contents; costs nothing."""
    return zstd_chunked.announced(layer) or estargz.announced(layer)


def read_toc(source: ImageSource, layer: Descriptor) -> Toc | None:
    """The layer's table of contents in one request (two for a large eStargz one), None if there is none to
    be used. Raises what `read_range` raises."""
    if not announces_toc(layer):
        return None
    form = zstd_chunked if zstd_chunked.announced(layer) else estargz
    try:
        data, payload_end, verified = form.read_json(source, layer)
        members, places = toc_entries.parse(data, payload_end)
    except (MalformedToc, NoRanges) as error:
        _log.debug("layer %s is scanned, since its table of contents is unusable: %s", layer.digest, error)
        return None
    return Toc(members, verified, places, source, layer, form.unpack)


def _matches(content: bytes, place: Place) -> bool:
    if place.digest:
        return Digest.parse(place.digest).matches(content)
    # Without a digest of the file, its chunks must cover it from end to end.
    end = 0
    for chunk in place.chunks:
        size = chunk.size or len(content) - chunk.start
        piece = content[chunk.start : chunk.start + size]
        if chunk.start != end or not chunk.digest or not Digest.parse(chunk.digest).matches(piece):
            return False
        end += size
    return end == len(content)
