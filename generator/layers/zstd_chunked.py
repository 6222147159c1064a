"""Layers compressed as zstd:chunked: every file in frames of its own, with a table of contents at the end.

Source: "zstd:chunked file format" of containers/storage. The layer's annotations say where the table of
contents is, so that no footer has to be read; a layer without them is taken for plain zstd.
"""

from __future__ import annotations

from catalog.errors import UsageError
from catalog.references import Digest
from generator.images.source import Descriptor, ImageSource
from generator.layers import zstd
from generator.layers.toc_entries import COMPRESSED_LIMIT, JSON_LIMIT, MalformedToc

# Today's tools write the first, those of Debian 12 the second.
_PREFIXES = ("io.github.containers.zstd-chunked.", "io.containers.zstd-chunked.")
_FRAME_HEADER = 8
_CRFS = 1  # the only manifest type there is
_PIECE = 1 << 20


def announced(layer: Descriptor) -> bool:
    return _annotation(layer, "manifest-position") is not None


def read_json(source: ImageSource, layer: Descriptor) -> tuple[bytes, int, bool]:
    """The JSON, where the tar members end in the blob, and whether an annotation vouches for it.

    Raises MalformedToc.
    """
    start, length, uncompressed = _position(layer)
    checksum = _annotation(layer, "manifest-checksum")
    data = source.read_range(layer, start, length)
    if len(data) != length:
        raise MalformedToc("the layer ends before its table of contents does")
    if checksum is not None:
        try:
            expected = Digest.parse(checksum)
        except UsageError:
            raise MalformedToc("the annotated checksum is not a digest") from None
        # The checksum is that of the compressed bytes.
        if not expected.matches(data):
            raise MalformedToc("the table of contents is not the annotated one")
    return unpack(data, uncompressed), start - _FRAME_HEADER, checksum is not None


def unpack(data: bytes, wanted: int) -> bytes:
    """The first `wanted` uncompressed bytes of consecutive frames; fewer when there are no more."""
    out = bytearray()
    try:
        for piece in zstd.pieces(data, min(wanted, _PIECE) or 1):
            out += piece
            if len(out) >= wanted:
                break
    except zstd.BadZstd as error:
        raise MalformedToc(f"zstd: {error}") from None
    return bytes(out[:wanted])


def _annotation(layer: Descriptor, name: str) -> str | None:
    return next(
        (layer.annotations[prefix + name] for prefix in _PREFIXES if prefix + name in layer.annotations), None
    )


def _position(layer: Descriptor) -> tuple[int, int, int]:
    parts = (_annotation(layer, "manifest-position") or "").split(":")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        raise MalformedToc("the annotated position is not offset:length:uncompressed:type")
    start, length, uncompressed, kind = map(int, parts)
    if kind != _CRFS:
        raise MalformedToc(f"unknown type {kind}")
    if not _FRAME_HEADER < start < start + length <= layer.size:
        raise MalformedToc("the annotated position lies outside the layer")
    if length > COMPRESSED_LIMIT or uncompressed > JSON_LIMIT:
        raise MalformedToc(f"a table of contents of {max(length, uncompressed)} bytes is too large")
    return start, length, uncompressed
