"""Walking the members of a tar stream, about a microsecond each: headers are read, contents only on request.

Sources: POSIX.1-2017 `pax` (ustar and pax interchange formats) and GNU tar's manual, "Basic Tar Format". Like
the readers that container engines use, this one ignores global PAX headers and takes links, directories and
devices to have no content whatever their size says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol
from zlib import adler32

from catalog.errors import Refused
from generator.layers import tar_header
from generator.layers.limits import DEFAULT, LimitPassed, Limits
from generator.layers.member import Kind, Member
from generator.layers.names import clean, text

_BLOCK = 512
_CHUNK = 1 << 18  # what fits a processor's cache is walked fastest
_ZEROS = bytes(_BLOCK)

_ORDINARY: Mapping[int, Kind] = {
    0: Kind.FILE,
    ord("0"): Kind.FILE,
    ord("1"): Kind.HARDLINK,
    ord("2"): Kind.SYMLINK,
    ord("3"): Kind.OTHER,
    ord("4"): Kind.OTHER,
    ord("5"): Kind.DIRECTORY,
    ord("6"): Kind.OTHER,
    ord("7"): Kind.FILE,  # contiguous
}
_SPARSE = ord("S")
_DUMP_DIRECTORY = ord("D")  # a directory with content all the same: the names of its files
_PAX = frozenset(b"xX")
_LONG_NAME = ord("L")
_LONG_LINK = ord("K")
_PASSED_OVER = frozenset(b"gV")  # global PAX header, volume label
_UNCLEAN = (b"/", b".")
_NO_EXTRAS: Mapping[bytes, bytes] = {}


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Sieve(Protocol):
    """Which members are worth being made into a `Member`; may change whenever one was yielded.

    Those pass whose clean name is in `exact` (given with and without a trailing slash), or begins with one of
    `prefixes`. The empty prefix lets everything through."""

    @property
    def exact(self) -> frozenset[bytes]: ...

    @property
    def prefixes(self) -> tuple[bytes, ...]: ...


class Everything:
    exact: frozenset[bytes] = frozenset()
    prefixes: tuple[bytes, ...] = (b"",)


class TarReader:
    """One pass over `stream`. `count` headers were passed so far; `sparse` says that the member just yielded
    isn't stored as plain bytes."""

    def __init__(self, stream: Stream, *, limits: Limits = DEFAULT, sieve: Sieve | None = None) -> None:
        self._read = stream.read
        self._limits = limits
        self._sieve: Sieve = sieve or Everything()
        self._buffer = b""
        self._position = 0
        self._left = 0  # bytes of the current member that `content` may still take
        self.count = 0
        self.sparse = False

    def members(self) -> Iterator[Member]:
        """In the order of the tar. Raises Refused for what isn't a tar or ends too early."""
        # Names of this function's own: a look-up in a module or an enumeration costs a tenth of a header.
        exact, prefixes, unclean = self._sieve.exact, self._sieve.prefixes, _UNCLEAN
        ordinary, file, sums_up = _ORDINARY, Kind.FILE, _sums_up
        extras = _NO_EXTRAS
        while True:
            start = self._position
            block = self._buffer[start : start + _BLOCK]
            if len(block) == _BLOCK:
                self._position = start + _BLOCK
            elif not (block := self._next_block()):
                return
            if not sums_up(block):
                if block == _ZEROS:
                    return
                tar_header.check_sum(block)
            self.count += 1
            code = block[156]
            kind = ordinary.get(code)
            if kind is None:
                records = self._extension(code, block)
                if records is not None:
                    extras = {**extras, **records}
                    continue
                kind = Kind.DIRECTORY if code == _DUMP_DIRECTORY else file
            if extras or block[345]:
                name = extras.get(b"path") or tar_header.path(block)
            else:
                end = block.find(0, 0, 100)
                name = block[:end] if end >= 0 else block[:100]
            if not code and name.endswith(b"/"):
                kind = Kind.DIRECTORY  # how it was written before there was a type for it
            size = 0
            if kind is file or code == _DUMP_DIRECTORY:
                size = self._size(block, extras)
            left = size
            if name.startswith(unclean) or name.find(b"/.") >= 0 or name.find(b"//") >= 0:
                name = clean(name)
            if name in exact or name.startswith(prefixes):
                self._left = size
                self.sparse = code == _SPARSE or b"sparse" in extras
                yield _member(name, kind, size, block, extras)
                left = self._left
                exact, prefixes = self._sieve.exact, self._sieve.prefixes
            extras = _NO_EXTRAS
            self._position += left + (-size & 511)

    def content(self) -> bytes:
        """The bytes of the member just yielded, once. The caller has looked at its size."""
        data, self._left = self._take(self._left), 0
        return data

    def _next_block(self) -> bytes:
        """The block at the position, where the buffer doesn't hold it; nothing at the end of the stream."""
        if self.count > self._limits.members:
            raise LimitPassed(f"the layer has more than {self._limits.members} members")
        self._drain()
        block = self._take(_BLOCK, at_end=True)
        if 0 < len(block) < _BLOCK:
            raise Refused("the layer ends within the header of a tar member")
        return block

    def _drain(self) -> None:
        """Catches up where the position lies behind the buffer."""
        over = self._position - len(self._buffer)
        while over > 0:
            self._buffer = self._read(_CHUNK)
            if not self._buffer:
                raise Refused("the layer ends within a tar member")
            self._position = min(over, len(self._buffer))
            over -= self._position

    def _take(self, size: int, *, at_end: bool = False) -> bytes:
        while len(self._buffer) - self._position < size:
            more = self._read(_CHUNK)
            if not more and at_end:
                break
            if not more:
                raise Refused("the layer ends within a tar member")
            self._buffer = self._buffer[self._position :] + more
            self._position = 0
        data = self._buffer[self._position : self._position + size]
        self._position += len(data)
        return data

    def _size(self, block: bytes, extras: Mapping[bytes, bytes]) -> int:
        size = tar_header.pax_number(extras[b"size"]) if b"size" in extras else tar_header.size(block)
        if size > self._limits.decompressed:
            raise LimitPassed(f"a member of the layer has {size} bytes")
        return size

    def _extension(self, code: int, block: bytes) -> Mapping[bytes, bytes] | None:
        """What a header that describes the next member says of it; None for a member of its own."""
        if code == _SPARSE:
            more = block[482]
            while more:
                # GNU: an extension block has 21 entries of 24 bytes, then the flag.
                more = self._take(_BLOCK)[504]
            return None
        if code not in _PAX and code not in _PASSED_OVER and code not in (_LONG_NAME, _LONG_LINK):
            return None
        size = tar_header.size(block)
        if size > self._limits.header:
            raise LimitPassed(f"the layer has a header of {size} bytes")
        payload = self._take(size)
        self._position += -size & 511
        if code == _LONG_NAME:
            return {b"path": tar_header.until_nul(payload)}
        if code == _LONG_LINK:
            return {b"linkpath": tar_header.until_nul(payload)}
        return tar_header.pax_extras(payload) if code in _PAX else _NO_EXTRAS


def _sums_up(block: bytes) -> bool:
    # The low half of Adler-32 is one more than the sum of the bytes, modulo 65521: the checksum at C's speed.
    # Its own field counts as eight spaces.
    total = (adler32(block[156:], adler32(block[:148])) & 0xFFFF) + 255
    try:
        return int(block[148:154], 8) % 65521 == total % 65521
    except ValueError:
        return False


def _member(name: bytes, kind: Kind, size: int, block: bytes, extras: Mapping[bytes, bytes]) -> Member:
    target = ""
    if kind is Kind.SYMLINK or kind is Kind.HARDLINK:
        linked = extras.get(b"linkpath") or tar_header.until_nul(block[157:257])
        target = text(linked if kind is Kind.SYMLINK else clean(linked))
    return Member(text(name.rstrip(b"/")), kind, size if kind is Kind.FILE else 0, target)
