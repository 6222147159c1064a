"""`oci-archive:` files."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest
import zstandard

from catalog.errors import NotFound, Refused
from catalog.references import ImageRef
from generator.images import spool
from generator.images.open import open_image
from generator.images.source import ImageSource
from image_parts import FRAMEWORK, Layer, Layout, member, sha256, tar

LAYER = Layer.gzipped(tar(member(FRAMEWORK, b"framework: {}\n")))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


class Open(Protocol):
    def __call__(self, path: Path, rest: str = "") -> ImageSource: ...


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def one(path: Path, rest: str = "") -> ImageSource:
            return stack.enter_context(closing(open_image(ImageRef.parse(f"oci-archive:{path}{rest}"))))

        yield one


@pytest.mark.parametrize("prefix", ["", "./", "/"])
def test_an_archive_is_its_layout(layout: Layout, tmp_path: Path, prefix: str, opened: Open) -> None:
    digest = layout.image(LAYER, tag="1.0")
    source = opened(layout.archive(tmp_path / "image.tar", prefix=prefix), ":1.0")
    image = source.resolve("linux/amd64")
    assert str(source.head()) == str(image.digest) == digest
    assert source.blob(image.layers[0]) == LAYER.blob
    assert source.read_range(image.layers[0], 3, 4) == LAYER.blob[3:7]
    assert source.read_range(image.layers[0], len(LAYER.blob) - 2, 99) == LAYER.blob[-2:]
    assert source.read_range(image.layers[0], len(LAYER.blob) + 2, 99) == b""


def test_compressed_archives(layout: Layout, tmp_path: Path, opened: Open) -> None:
    digest = layout.image(LAYER, tag="1.0")
    plain = layout.archive(tmp_path / "image.tar").read_bytes()
    half = len(plain) // 2
    for name, packed in {
        "one.tar.gz": gzip.compress(plain),
        "two.tar.gz": gzip.compress(plain[:half]) + gzip.compress(plain[half:]),
        "one.tar.zst": zstandard.compress(plain),
        "two.tar.zst": zstandard.compress(plain[:half]) + zstandard.compress(plain[half:]),
    }.items():
        (tmp_path / name).write_bytes(packed)
        source = opened(tmp_path / name)
        assert str(source.resolve(None).digest) == digest, name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable tar file|no index.json|not an OCI image layout"),
        (b"no tar file at all" * 100, "not a readable tar file"),
        (b"BZh9" + b"\0" * 600, "compressed with bzip2 or xz"),
        (b"\xfd7zXZ\0" + b"\0" * 600, "compressed with bzip2 or xz"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-20], "can't be unpacked"),
        (b"\x1f\x8b" + b"\xff" * 600, "can't be unpacked"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 600, "can't be unpacked"),
        (gzip.compress(b"x" * 5000, mtime=0), "not a readable tar file"),
    ],
    # Not by their bytes: workers of one test run must name a test alike.
    ids=["empty", "text", "bzip2", "xz", "cut", "gzip-noise", "zstd-noise", "gzip-of-text"],
)
def test_what_is_no_archive(tmp_path: Path, content: bytes, message: str, opened: Open) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises((Refused, NotFound), match=message):
        opened(path).head()


def test_a_path_that_is_no_file(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(NotFound, match="no such file"):
        opened(tmp_path / "none.tar")
    with pytest.raises(Refused, match="a folder, not an archive") as refused:
        opened(tmp_path)
    assert refused.value.hint == f"read it as oci:{tmp_path}"


def test_a_truncated_archive(layout: Layout, tmp_path: Path, opened: Open) -> None:
    layout.image(LAYER)
    whole = layout.archive(tmp_path / "image.tar")
    image = opened(whole).resolve(None)
    with tarfile.open(whole) as archive:
        at = archive.getmember(f"blobs/sha256/{image.layers[0].digest.hex}").offset_data
    for keep in (at + 5, at - 100):
        whole.write_bytes(whole.read_bytes()[:keep])
        with pytest.raises((Refused, NotFound)):
            opened(whole).blob(image.layers[0])


def test_a_bomb_is_refused(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(b"\0" * (80 << 20)))
    with pytest.raises(Refused, match=r"more than \d+ bytes unpacked"):
        opened(tmp_path / "bomb.tar.gz")


def test_a_disk_is_not_filled_up(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    layout.image(LAYER)
    packed = tmp_path / "image.tar.gz"
    packed.write_bytes(gzip.compress(layout.archive(tmp_path / "image.tar").read_bytes()))
    monkeypatch.setattr(spool, "_RESERVE", 1 << 60)
    with pytest.raises(Refused, match=r"a temporary copy takes 0 MiB, and .* has 0 MiB to spare") as refused:
        opened(packed)
    assert refused.value.hint == (
        "set TMPDIR to a folder on a larger disk, or push the image to a registry and read it there"
    )


def test_a_header_that_claims_to_be_huge(tmp_path: Path, opened: Open) -> None:
    bomb, _ = member("././@PaxHeader", type=b"x")
    bomb.size = 1 << 40
    (tmp_path / "image.tar").write_bytes(bomb.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096)
    with pytest.raises(Refused, match="not a readable tar file"):
        opened(tmp_path / "image.tar")


def test_a_link_is_followed_within_the_archive_only(layout: Layout, tmp_path: Path, opened: Open) -> None:
    digest = layout.image(LAYER)
    name = f"blobs/sha256/{digest.removeprefix('sha256:')}"
    manifest = layout.blob(digest).read_bytes()
    index = (layout.root / "index.json").read_bytes()
    start = [member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), member("index.json", index)]
    config = [member(f"blobs/sha256/{f.name}", f.read_bytes()) for f in layout.root.glob("blobs/sha256/*")]
    path = tmp_path / "image.tar"

    def resolved(link: str, stored: str = "stored") -> str:
        others = [one for one in config if one[0].name != name]
        inside = [
            member(stored, manifest),
            member(name, type=tarfile.SYMTYPE, linkname=link),
        ]
        path.write_bytes(tar(*start, *others, *inside))
        return str(opened(path).resolve(None).digest)

    assert resolved("../../stored") == digest
    for outside in ("/etc/passwd", "../../../etc/passwd", name.rpartition("/")[2]):
        with pytest.raises(NotFound):
            resolved(outside)


def test_the_last_member_of_a_name_counts(layout: Layout, tmp_path: Path, opened: Open) -> None:
    layout.image(LAYER)
    path = layout.archive(tmp_path / "image.tar")
    newer = Layout(tmp_path / "newer")
    digest = newer.image(Layer.plain(LAYER.diff))
    with tarfile.open(path, "a") as archive:
        for file in newer.root.rglob("*"):
            archive.add(file, str(file.relative_to(newer.root)), recursive=False)
    image = opened(path).resolve(None)
    assert str(image.digest) == digest
    assert str(image.layers[0].digest) == sha256(LAYER.diff)
