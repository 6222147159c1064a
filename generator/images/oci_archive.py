"""`oci-archive:` files: an OCI image layout in a tar file, which is read in place."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from catalog.errors import NotFound, Refused
from catalog.references import ImageRef
from generator.images.oci_layout import LayoutSource
from generator.images.spool import spool
from generator.images.tar_files import TarFiles
from generator.layers import zstd

# A compressed archive has to be unpacked first. Its blobs are compressed already, so that it can't grow much.
_MOST_UNPACKED = 64 << 30
_RATIO = 20
_SLACK = 64 << 20
_PIECE = 1 << 20


def open_archive(ref: ImageRef) -> LayoutSource:
    """Raises NotFound without the file and Refused for what isn't a tar file."""
    assert ref.path is not None  # noqa: S101 # an oci-archive: reference always has one
    place = str(ref)
    files = TarFiles(_uncompressed(_open(ref.path, place), place), place=place)
    return LayoutSource(files, tag=ref.tag, digest=ref.digest, place=place)


def _open(path: Path, place: str) -> BinaryIO:
    try:
        if path.is_dir():
            raise Refused("a folder, not an archive", place=place, hint=f"read it as oci:{path}")
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound("no such file", place=place) from None
    except OSError as error:
        raise Refused(f"can't be read: {error.strerror}", place=place) from None


def _uncompressed(file: BinaryIO, place: str) -> BinaryIO:
    magic = file.read(6)
    size = file.seek(0, 2)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        chunks = _gzip(file)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        chunks = zstd.pieces(file, _PIECE)
    elif magic.startswith((b"BZh", b"\xfd7zXZ\x00")):
        file.close()
        raise Refused("compressed with bzip2 or xz", place=place, hint="unpack it first: bunzip2 or unxz")
    else:
        return file
    with file:
        try:
            return spool(chunks, limit=min(_MOST_UNPACKED, size * _RATIO + _SLACK), place=place)
        except (OSError, EOFError, zlib.error, zstd.BadZstd) as error:
            raise Refused(f"can't be unpacked: {error}", place=place) from None


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as unpacked:
        while piece := unpacked.read(_PIECE):
            yield piece
