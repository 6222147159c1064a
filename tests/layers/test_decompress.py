"""Layers as builders compress them, and as attackers do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
import zstandard

from catalog.errors import Refused
from generator.layers.blob import BlobStream
from generator.layers.decompress import Decompressed
from generator.layers.limits import LimitPassed, Limits
from layers.tars import END, archive, decompressed, file

TAR = b"".join(file(b"f%d" % number, b"content " * number) for number in range(60)) + END
SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"

GZIP_MEMBERS = b"".join(gzip.compress(TAR[start : start + 5000]) for start in range(0, len(TAR), 5000))
ZSTD_FRAMES = b"".join(zstandard.compress(TAR[start : start + 5000]) for start in range(0, len(TAR), 5000))


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(TAR, id="plain"),
        pytest.param(gzip.compress(TAR), id="gzip"),
        pytest.param(GZIP_MEMBERS, id="gzip-members"),
        pytest.param(GZIP_MEMBERS + bytes(700), id="gzip-padded"),
        pytest.param(zstandard.compress(TAR), id="zstd"),
        pytest.param(ZSTD_FRAMES, id="zstd-frames"),
        pytest.param(SKIPPABLE + ZSTD_FRAMES + SKIPPABLE, id="zstd-skippable"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_whatever_the_pieces_it_arrives_in(blob: bytes, piece: int) -> None:
    assert decompressed(blob, piece=piece) == TAR


def test_tarfile_itself_reads_only_the_first_gzip_member() -> None:
    # Why none of this rests on tarfile's stream mode.
    one = gzip.compress(TAR[:5120]) + gzip.compress(TAR[5120:])
    assert decompressed(one) == TAR
    with tarfile.open(fileobj=io.BytesIO(one), mode="r|gz") as tar:
        try:
            seen = len(tar.getmembers())
        except tarfile.ReadError:
            seen = 0
    assert seen < 60


def test_the_media_type_is_not_asked() -> None:
    # Nothing but the bytes is handed in; that plain tars come through is what matters here.
    assert decompressed(archive([])) == archive([])


@pytest.mark.parametrize(
    ("blob", "name"),
    [(bz2.compress(TAR), "bzip2"), (lzma.compress(TAR), "xz"), (b"PK\x03\x04" + TAR, "zip")],
)
def test_other_compressions_are_named(blob: bytes, name: str) -> None:
    with pytest.raises(Refused, match=f"the layer is compressed with {name}, which no image format allows"):
        decompressed(blob)


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(gzip.compress(TAR)[:-4], id="gzip-without-its-end"),
        pytest.param(GZIP_MEMBERS[:-30], id="last-member-cut"),
        pytest.param(gzip.compress(TAR)[:-8] + bytes(8), id="wrong-checksum"),
        pytest.param(gzip.compress(TAR) + b"garbage", id="garbage-behind"),
        pytest.param(b"\x1f\x8b" + b"\xff" * 50, id="no-gzip"),
        pytest.param(zstandard.compress(TAR) + b"garbage!", id="garbage-behind-zstd"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"\xff" * 50, id="no-zstd"),
    ],
)
def test_damage_is_refused(blob: bytes) -> None:
    with pytest.raises(Refused, match="the layer can't be decompressed"):
        decompressed(blob)


def read_all(stream: Decompressed) -> None:
    while stream.read(1 << 18):
        pass


def zeros(size: int) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(bytes(size))


def test_a_bomb_stops_at_its_ratio() -> None:
    limits = Limits(ratio=100, ratio_from=1 << 20)
    stream = Decompressed(BlobStream([zeros(64 << 20)]), limits)
    with pytest.raises(LimitPassed, match="the layer decompresses to more than 100 times its size"):
        read_all(stream)
    assert stream.produced <= 2 << 20


def test_a_small_layer_of_zeros_is_no_bomb() -> None:
    blob = gzip.compress(bytes(8 << 20))
    assert len(decompressed(blob)) > 500 * len(blob)


def test_a_bomb_stops_at_its_size() -> None:
    limits = Limits(decompressed=2 << 20, ratio=10**9, ratio_from=1 << 20)
    with pytest.raises(LimitPassed, match="the layer decompresses to more than 2097152 bytes"):
        decompressed(gzip.compress(bytes(8 << 20)), limits=limits)


def test_a_window_that_takes_too_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30, enable_ldm=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = compressor.compress(TAR) + compressor.flush()
    with pytest.raises(Refused, match="the layer can't be decompressed"):
        decompressed(blob)


def test_reading_is_bounded() -> None:
    stream = Decompressed(BlobStream([gzip.compress(bytes(4 << 20))]))
    assert max(len(stream.read(1 << 16)) for _ in range(40)) <= 1 << 16
