"""Unpacking zstd: the one module that knows the library which does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Protocol, cast

import zstandard

# Bytes of memory that a frame may ask for. The format's highest levels ask for as much.
_WINDOW = 128 << 20

BadZstd = zstandard.ZstdError


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def reader(packed: bytes | Readable) -> Readable:
    """All frames one after the other, whatever sizes they claim; a frame that breaks off gives what it holds.

    Reading raises BadZstd. `packed` stays open.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    # It only ever calls read.
    source = packed if isinstance(packed, bytes) else cast("IO[bytes]", packed)
    return decompressor.stream_reader(source, read_across_frames=True, closefd=False)


def pieces(packed: bytes | Readable, size: int) -> Iterator[bytes]:
    """What `reader` reads, in pieces of at most `size` bytes."""
    unpacked = reader(packed)
    while piece := unpacked.read(size):
        yield piece
