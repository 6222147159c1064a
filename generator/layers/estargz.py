"""eStargz layers: gzip with a member for every file, a table of contents in JSON, and a footer that finds it.

Source: the eStargz specification of containerd/stargz-snapshotter, sections "TOC, TOCEntries and Footer" and
"Content Verification in eStargz". Only layers whose descriptor carries the digest of the table of contents
are tried: the specification demands that annotation, nothing could be verified without it, and looking for a
footer in every gzip layer would cost each of them a request.
"""

from __future__ import annotations

import io
import tarfile
import zlib

from catalog.errors import UsageError
from catalog.references import Digest
from generator.images.source import Descriptor, ImageSource
from generator.layers.toc_entries import COMPRESSED_LIMIT, JSON_LIMIT, MalformedToc

ANNOTATION = "containerd.io/snapshot/stargz/toc.digest"

_NAME = "stargz.index.json"
_FOOTER = 51
_LEGACY_FOOTER = 47
# Read together with the footer, since a layer of some hundred members has no larger table of contents.
_TAIL = 32 << 10
_TAR_OVERHEAD = 64 << 10
_GZIP = 31  # zlib's number for "with a gzip header"


def announced(layer: Descriptor) -> bool:
    return ANNOTATION in layer.annotations


def read_json(source: ImageSource, layer: Descriptor) -> tuple[bytes, int, bool]:
    """The JSON, where the tar members end in the blob, and that the annotation vouches for it.

    Raises MalformedToc.
    """
    try:
        expected = Digest.parse(layer.annotations[ANNOTATION])
    except UsageError:
        raise MalformedToc("the annotated digest is not a digest") from None
    tail_start = max(0, layer.size - _TAIL)
    tail = source.read_range(layer, tail_start, layer.size - tail_start)
    start, end = _footer(tail, tail_start)
    if end - start > COMPRESSED_LIMIT:
        raise MalformedToc(f"a table of contents of {end - start} bytes is too large")
    if start >= tail_start:
        compressed = tail[start - tail_start : end - tail_start]
    else:
        compressed = source.read_range(layer, start, tail_start - start) + tail[: end - tail_start]
    data = _json(compressed)
    if not expected.matches(data):
        raise MalformedToc("the table of contents is not the annotated one")
    return data, start, True


def unpack(data: bytes, wanted: int) -> bytes:
    """The first `wanted` uncompressed bytes of consecutive gzip members; fewer when there are no more."""
    out = bytearray()
    while data and len(out) < wanted:
        member = zlib.decompressobj(_GZIP)
        try:
            out += member.decompress(data, wanted - len(out))
        except zlib.error as error:
            raise MalformedToc(f"gzip: {error}") from None
        data = member.unused_data
    return bytes(out)


def _footer(tail: bytes, tail_start: int) -> tuple[int, int]:
    """Where the table of contents starts and ends in the blob."""
    size = tail_start + len(tail)
    # "2 bytes Extra: SI1 = 'S', SI2 = 'G'; 2 bytes Extra: LEN = 22". stargz, the ancestor, has neither.
    for length, header in ((_FOOTER, b"\x1a\x00SG\x16\x00"), (_LEGACY_FOOTER, b"\x16\x00")):
        footer = tail[-length:]
        field = footer[10 + len(header) : 10 + len(header) + 22]
        if (
            len(footer) == length
            and footer.startswith(b"\x1f\x8b")
            and footer[10:].startswith(header)
            and field.endswith(b"STARGZ")
        ):
            try:
                start = int(field[:16], 16)
            except ValueError:
                break
            if 0 < start < size - length:
                return start, size - length
    raise MalformedToc("no eStargz footer")


def _json(compressed: bytes) -> bytes:
    # "TOC MUST be a JSON file contained as the last tar entry and MUST be named stargz.index.json."
    unpacked = unpack(compressed, JSON_LIMIT + _TAR_OVERHEAD)
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            member = archive.next()
            if member is None or member.name != _NAME or not member.isreg():
                raise MalformedToc(f"no {_NAME}")
            content = archive.extractfile(member)
            return content.read() if content else b""
    except tarfile.TarError as error:
        raise MalformedToc(f"tar: {error}") from None
