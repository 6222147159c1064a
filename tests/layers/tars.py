"""Tars made by hand: fields that tarfile wouldn't write."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

from generator.layers.blob import BlobStream
from generator.layers.decompress import Decompressed
from generator.layers.limits import DEFAULT, Limits
from generator.layers.member import Member
from generator.layers.tar import TarReader

END = bytes(1024)


def header(
    name: bytes = b"",
    *,
    kind: bytes = b"0",
    size: bytes = b"00000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    tail: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One block. `tail` is what follows the device numbers (345…)."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257 : 257 + len(magic)] = magic
    block[345 : 345 + len(tail)] = tail
    if checksum is None:
        block[148:156] = b" " * 8
        checksum = b"%06o\0 " % sum(block)
    block[148 : 148 + len(checksum)] = checksum
    return bytes(block)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes) -> bytes:
    return header(name, size=octal(len(data))) + padded(data)


def pax(**records: bytes) -> bytes:
    """A PAX header for the next member; `__` in a key stands for a dot."""
    payload = b"".join(_record(key.replace("__", ".").encode(), value) for key, value in records.items())
    return header(b"PaxHeaders/x", kind=b"x", size=octal(len(payload))) + padded(payload)


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(b" %b=%b\n" % (key, value))
    length = rest
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def members(data: bytes, *, limits: Limits = DEFAULT) -> list[Member]:
    return list(TarReader(io.BytesIO(data), limits=limits).members())


def contents(data: bytes) -> list[tuple[str, bytes]]:
    reader = TarReader(io.BytesIO(data))
    return [(member.path, reader.content()) for member in reader.members()]


def decompressed(blob: bytes, *, piece: int = 1 << 20, limits: Limits = DEFAULT) -> bytes:
    pieces = (blob[start : start + piece] for start in range(0, len(blob), piece))
    stream = Decompressed(BlobStream(pieces), limits)
    out = bytearray()
    while data := stream.read(1 << 16):
        out += data
    return bytes(out)


def archive(entries: Sequence[tuple[tarfile.TarInfo, bytes]], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
