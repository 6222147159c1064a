"""A layer's bytes without their compression, pulled in bounded pieces.

The media type is not trusted: what counts is how the blob begins. Sources: RFC 1952 (gzip, several members),
RFC 8878 (zstd, several frames and skippable ones).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from catalog.errors import Refused
from generator.layers.blob import BlobStream
from generator.layers.limits import DEFAULT, LimitPassed, Limits

# Compressed bytes handed to a decompressor at once: what lies behind the end of a gzip member is copied.
_FEED = 64 << 10
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a first byte of 0x50 to 0x5f
_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4"}


class _Inner(Protocol):
    """Gives what has come rather than wait for `size` bytes: the blob is asked for more only when needed."""

    def read1(self, size: int, /) -> bytes: ...


class Decompressed:
    """What is inside `blob`. `produced` counts decompressed bytes."""

    def __init__(self, blob: BlobStream, limits: Limits = DEFAULT) -> None:
        self._blob = blob
        self._limits = limits
        self._inner, self._errors = _open(blob)
        self.produced = 0

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; nothing only at the end.

        Raises Refused for damaged data and LimitPassed for a bomb.
        """
        try:
            data = self._inner.read1(size)
        except self._errors as error:
            raise Refused(f"the layer can't be decompressed: {error}") from None
        self.produced += len(data)
        if self.produced > self._limits.ratio_from:
            self._check_limits()
        return data

    def _check_limits(self) -> None:
        if self.produced > self._limits.decompressed:
            raise LimitPassed(f"the layer decompresses to more than {self._limits.decompressed} bytes")
        if self.produced > self._limits.ratio * self._blob.consumed:
            raise LimitPassed(f"the layer decompresses to more than {self._limits.ratio} times its size")


class _Gzip:
    """All members of a gzip file; zeros between and behind them are padding (RFC 1952 leaves that open)."""

    def __init__(self, blob: BlobStream) -> None:
        from isal import igzip_lib  # noqa: PLC0415 # only layers need it

        self.damage = cast(type[Exception], igzip_lib.error)
        self._blob = blob
        self._new_member: Callable[[], Any] = lambda: igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
        self._member = self._new_member()
        self._rest = b""

    def read1(self, size: int) -> bytes:
        while True:
            data = b""
            if self._member.eof:
                data = self._between_members()
                if not data:
                    return b""
                self._member = self._new_member()
            elif self._member.needs_input:
                data = self._blob.read(_FEED)
                if not data:
                    raise EOFError("it ends within its compressed data")
            out: bytes = self._member.decompress(data, size)
            if self._member.eof:
                self._rest = self._member.unused_data
            if out:
                return out

    def _between_members(self) -> bytes:
        data, self._rest = self._rest.lstrip(b"\0"), b""
        while not data:
            more = self._blob.read(_FEED)
            if not more:
                break
            data = more.lstrip(b"\0")
        return data


def _open(blob: BlobStream) -> tuple[_Inner, tuple[type[Exception], ...]]:
    head = blob.peek(6)
    if head.startswith(_GZIP):
        members = _Gzip(blob)
        return members, (members.damage, EOFError)
    if head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and 0x50 <= head[0] <= 0x5F):
        from generator.layers import zstd  # noqa: PLC0415 # only layers need it

        return cast(_Inner, zstd.reader(blob)), (zstd.BadZstd,)
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise Refused(f"the layer is compressed with {name}, which no image format allows")
    return blob, ()
