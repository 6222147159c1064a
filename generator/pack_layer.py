"""A layer whose bytes depend on nothing but its files: no clock, no user, no version of a compressor.

Sources: POSIX.1-2017 `pax` for the tar headers; RFC 1952 and RFC 1951 for gzip. The data stand in stored
blocks, since no two builds of zlib need compress alike. Where it should be small, registries and git compress
once more anyway.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused

_BLOCK = 512
_READ = 1 << 20
# What the octal field of a tar header holds.
_LARGEST = 8**11 - 1
_STORED = 65535
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no time, "unknown" operating system


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member of a layer: a folder (`name` ends with a slash), a symbolic link, or a file with its content
    here or in `file`. Names are relative to the root."""

    name: str
    content: bytes = b""
    file: Path | None = None
    link: str = ""
    executable: bool = False


def tar(entries: Iterable[Entry]) -> Iterator[bytes]:
    """An uncompressed tar file in the order given. Owner 0, time 0, modes 0755 or 0644."""
    for entry in entries:
        if entry.link:
            yield _header(entry.name, b"2", 0o777, 0, entry.link)
        elif entry.name.endswith("/"):
            yield _header(entry.name, b"5", 0o755, 0)
        else:
            yield from _file(entry)
    yield b"\0" * 2 * _BLOCK


def gzip_stored(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """gzip without compression. However the data are cut into chunks, the result is the same."""
    yield _HEADER
    checksum, size, waiting = 0, 0, bytearray()
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
        waiting += chunk
        whole = len(waiting) - len(waiting) % _STORED
        for at in range(0, whole, _STORED):
            yield _stored(waiting[at : at + _STORED], last=False)
        del waiting[:whole]
    yield _stored(waiting, last=True)
    # "ISIZE: the size of the original input data modulo 2^32."
    yield struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _stored(data: bytes | bytearray, *, last: bool) -> bytes:
    # RFC 1951, 3.2.4: BFINAL, BTYPE=00, up to the next byte; LEN and its complement; the data.
    return struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data


def _file(entry: Entry) -> Iterator[bytes]:
    mode = 0o755 if entry.executable else 0o644
    if entry.file is None:
        yield _header(entry.name, b"0", mode, len(entry.content))
        yield entry.content + _padding(len(entry.content))
        return
    with entry.file.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        yield _header(entry.name, b"0", mode, size)
        left = size
        while left and (piece := file.read(min(left, _READ))):
            left -= len(piece)
            yield piece
        if left or file.read(1):
            raise Refused("the file changed while it was packed", place=str(entry.file))
    yield _padding(size)


def _header(name: str, kind: bytes, mode: int, size: int, link: str = "") -> bytes:
    if size > _LARGEST:
        raise Refused(f"{name} is larger than {_LARGEST} bytes")
    extended = b""
    for key, value in (("path", name), ("linkpath", link)):
        if len(value) > 100 or not value.isascii():
            extended += _record(key, value)
    ustar = _ustar(_short(name), kind, mode, size, _short(link))
    if not extended:
        return ustar
    return _ustar(b"PaxHeader", b"x", 0o644, len(extended), b"") + extended + _padding(len(extended)) + ustar


def _ustar(name: bytes, kind: bytes, mode: int, size: int, link: bytes) -> bytes:
    fields = struct.pack(
        "100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 8s 8s 155s 12x",
        name,
        b"%07o" % mode,
        b"%07o" % 0,
        b"%07o" % 0,
        b"%011o" % size,
        b"%011o" % 0,
        b" " * 8,
        kind,
        link,
        b"ustar\x0000",
        b"",
        b"",
        b"%07o" % 0,
        b"%07o" % 0,
        b"",
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _record(key: str, value: str) -> bytes:
    # "%d %s=%s\n", where the number counts its own digits too.
    rest = b" " + key.encode() + b"=" + value.encode() + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return b"%d" % length + rest


def _short(text: str) -> bytes:
    # For readers that know no extended headers; all others take the record.
    return text.encode("ascii", "replace")[:100]


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _BLOCK)
