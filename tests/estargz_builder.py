"""Builds eStargz layers by the specification, without the code that reads them.

No packaged tool makes them. What comes out is checked against tarfile in tests/toc.
"""

from __future__ import annotations

import gzip
import json
import struct
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

from image_parts import Layer, sha256

Entry = dict[str, Any]
Change = Callable[[list[Entry]], bytes | None]
TYPES = {
    tarfile.REGTYPE: "reg",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
BLOCK = 512


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % BLOCK)


def footer(toc_offset: int, *, legacy: bool = False) -> bytes:
    """51 bytes, or the 47 of stargz, which had no subfield header."""
    field = f"{toc_offset:016x}STARGZ".encode()
    extra = field if legacy else b"SG" + struct.pack("<H", len(field)) + field
    header = b"\x1f\x8b\x08\x04" + b"\0" * 4 + b"\0\xff"
    return header + struct.pack("<H", len(extra)) + extra + b"\x01\x00\x00\xff\xff" + b"\0" * 8


class Builder:
    """`chunk_size` splits files; `shared` is the size up to which what follows joins the same gzip member."""

    def __init__(self, chunk_size: int = 1 << 20, shared: int = 0) -> None:
        self.chunk_size = chunk_size
        self.shared = shared
        self.blob = bytearray()
        self.diff = bytearray()
        self.stream = b""
        self.entries: list[Entry] = []

    def add(self, info: tarfile.TarInfo, content: bytes) -> None:
        entry: Entry = {"name": info.name, "type": TYPES[info.type], "mode": info.mode, "uid": 0, "gid": 0}
        if info.linkname:
            entry["linkName"] = info.linkname
        self.stream += info.tobuf(tarfile.PAX_FORMAT)
        self.entries.append(entry)
        if content:
            entry |= {"size": len(content), "digest": sha256(content)}
            self.chunks(entry, content)
            self.stream += b"\0" * (-len(content) % BLOCK)

    def chunks(self, entry: Entry, content: bytes) -> None:
        for start in range(0, len(content), self.chunk_size):
            piece = content[start : start + self.chunk_size]
            if len(self.stream) >= self.shared:
                self.flush()
            place: Entry = {"offset": len(self.blob), "chunkDigest": sha256(piece)}
            if self.stream:
                place["innerOffset"] = len(self.stream)
            self.stream += piece
            if start:
                self.entries.append({"name": entry["name"], "type": "chunk", **place, "chunkOffset": start})
            else:
                entry.update(place)
            last = start + len(piece) == len(content)
            self.entries[-1]["chunkSize"] = 0 if last else len(piece)
            if not self.shared:
                self.flush()

    def flush(self) -> None:
        self.diff += self.stream
        self.blob += packed(self.stream) if self.stream else b""
        self.stream = b""

    def finish(self, change: Change, *, legacy: bool) -> Layer:
        self.flush()
        toc = change(self.entries) or json.dumps({"version": 1, "entries": self.entries}).encode()
        info = tarfile.TarInfo("stargz.index.json")
        info.size = len(toc)
        last = info.tobuf(tarfile.PAX_FORMAT) + padded(toc) + b"\0" * 2 * BLOCK
        blob = self.blob + packed(last) + footer(len(self.blob), legacy=legacy)
        return Layer(
            bytes(self.diff) + last,
            bytes(blob),
            "application/vnd.oci.image.layer.v1.tar+gzip",
            {"containerd.io/snapshot/stargz/toc.digest": sha256(toc)},
        )


def estargz(
    *members: tuple[tarfile.TarInfo, bytes],
    chunk_size: int = 1 << 20,
    shared: int = 0,
    legacy: bool = False,
    change: Change = lambda _: None,
) -> Layer:
    """`change` may falsify the entries or give another table; its digest is then the annotated one."""
    builder = Builder(chunk_size, shared)
    landmark = tarfile.TarInfo(".no.prefetch.landmark")
    landmark.size = 1
    whole: Sequence[tuple[tarfile.TarInfo, bytes]] = [*members, (landmark, b"\x0f")]
    for info, content in whole:
        builder.add(info, content)
    return builder.finish(change, legacy=legacy)
