"""Tables of contents of zstd:chunked layers, made by skopeo."""

from __future__ import annotations

import json
import random
import tarfile
from pathlib import Path

import pytest
import zstandard

from catalog.references import ImageRef
from generator.images.open import open_image
from generator.images.source import Descriptor, ImageSource
from generator.layers.member import Kind, Member
from generator.layers.toc import UnusableToc, announces_toc, read_toc
from image_parts import FRAMEWORK, Layer, Layout, member, sha256, tar
from services.skopeo import Skopeo

CONTENT = b"framework:\n  name: sums\n"
# Zeros within a file become a chunk of a type of its own.
LARGE = random.Random(1).randbytes(300_000) + b"\0" * 50_000 + random.Random(2).randbytes(200_000)
DIFF = tar(
    member("opt/", type=tarfile.DIRTYPE),
    member("./opt/metadata/", type=tarfile.DIRTYPE),
    member(FRAMEWORK, CONTENT),
    member("opt/metadata/large.bin", LARGE),
    member("opt/metadata/link", type=tarfile.SYMTYPE, linkname="../metadata/./sums"),
    member("opt/metadata/hard.yml", type=tarfile.LNKTYPE, linkname=FRAMEWORK),
    member("opt/.wh.gone"),
    member("opt/empty"),
    member("dev/null", type=tarfile.CHRTYPE),
)
OLD, NEW = "io.containers.zstd-chunked.", "io.github.containers.zstd-chunked."


@pytest.fixture(scope="module")
def chunked(tmp_path_factory: pytest.TempPathFactory, skopeo: Skopeo) -> Layer:
    """The layer as skopeo compressed and annotated it."""
    folder = tmp_path_factory.mktemp("chunked")
    plain = Layout(folder / "plain")
    plain.image(Layer.gzipped(DIFF), tag="1")
    # Into a fresh layout: skopeo's memory of where blobs are would turn it back into gzip elsewhere.
    skopeo("copy", "--dest-compress-format", "zstd:chunked", f"oci:{plain.root}:1", f"oci:{folder}/made:1")
    made = folder / "made" / "blobs" / "sha256"
    index = json.loads((folder / "made" / "index.json").read_bytes())
    manifest = json.loads((made / index["manifests"][0]["digest"].removeprefix("sha256:")).read_bytes())
    found = manifest["layers"][0]
    blob = (made / found["digest"].removeprefix("sha256:")).read_bytes()
    return Layer(DIFF, blob, found["mediaType"], found["annotations"])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def stored(layout: Layout, layer: Layer, **annotations: str | None) -> tuple[ImageSource, Descriptor]:
    """`annotations` replace those of the layer that end so, with `_` for `-`; None removes."""
    changed = dict(layer.annotations)
    for key in layer.annotations:
        short = key.rpartition(".")[2].replace("-", "_")
        if short in annotations:
            value = annotations[short]
            changed.pop(key)
            if value is not None:
                changed[key] = value
    digest = layout.image(Layer(layer.diff, layer.blob, layer.media_type, changed))
    source = open_image(ImageRef.parse(f"oci:{layout.root}@{digest}"))
    found = source.resolve(None).layers[0]
    source.cost.bytes = 0
    return source, found


def test_members_and_contents(layout: Layout, chunked: Layer) -> None:
    source, descriptor = stored(layout, chunked)
    assert announces_toc(descriptor)
    found = read_toc(source, descriptor)
    assert found is not None
    assert found.verified
    assert source.cost.bytes < 4000
    assert found.members == (
        Member("opt", Kind.DIRECTORY),
        Member("opt/metadata", Kind.DIRECTORY),
        Member(FRAMEWORK, Kind.FILE, len(CONTENT)),
        Member("opt/metadata/large.bin", Kind.FILE, len(LARGE)),
        Member("opt/metadata/link", Kind.SYMLINK, target="../metadata/./sums"),
        Member("opt/metadata/hard.yml", Kind.HARDLINK, target=FRAMEWORK),
        Member("opt/.wh.gone", Kind.FILE),
        Member("opt/empty", Kind.FILE),
        Member("dev/null", Kind.OTHER),
    )
    source.cost.bytes = 0
    assert found.content(found.members[2]) == CONTENT
    assert source.cost.bytes < 100
    assert found.content(found.members[3]) == LARGE
    assert found.content(found.members[7]) == b""


def test_both_prefixes_are_known(layout: Layout, chunked: Layer) -> None:
    assert all(key.startswith(OLD) for key in chunked.annotations)
    newer = {key.replace(OLD, NEW): value for key, value in chunked.annotations.items()}
    found = read_toc(*stored(layout, Layer(chunked.diff, chunked.blob, chunked.media_type, newer)))
    assert found is not None
    assert found.verified
    assert found.content(found.members[2]) == CONTENT


def test_without_a_checksum_it_is_not_verified(layout: Layout, chunked: Layer) -> None:
    found = read_toc(*stored(layout, chunked, manifest_checksum=None))
    assert found is not None
    assert not found.verified
    assert found.content(found.members[2]) == CONTENT


def test_without_a_position_the_layer_is_not_even_looked_at(layout: Layout, chunked: Layer) -> None:
    source, descriptor = stored(layout, chunked, manifest_position=None)
    assert not announces_toc(descriptor)
    assert read_toc(source, descriptor) is None
    assert source.cost.bytes == 0


@pytest.mark.parametrize("checksum", ["sha256:" + "0" * 64, "nonsense", ""])
def test_a_table_that_is_not_the_annotated_one_counts_as_none(
    layout: Layout, chunked: Layer, checksum: str
) -> None:
    assert read_toc(*stored(layout, chunked, manifest_checksum=checksum)) is None


@pytest.mark.parametrize(
    "position",
    [
        "",
        "1:2:3",
        "a:b:c:d",
        "-5:10:10:1",
        "0:100:100:1",
        "9999999999:100:100:1",
        "100:9999999999:100:1",
        "100:100:100:1",
        "100:100:9999999999:1",
        "100:100:100:2",
        "1" * 5000 + ":1:1:1",
    ],
)
def test_nonsense_positions(layout: Layout, chunked: Layer, position: str) -> None:
    assert read_toc(*stored(layout, chunked, manifest_position=position, manifest_checksum=None)) is None


def test_a_table_that_unpacks_to_more_than_it_says(layout: Layout, chunked: Layer) -> None:
    """A bomb of 100 MB of blanks is cut off where the annotation says it ends."""
    frame = zstandard.compress(b'{"version": 1, "entries": []}' + b" " * (100 << 20))
    layer = Layer(b"", b"\0" * 100 + frame, chunked.media_type, chunked.annotations)
    position = f"100:{len(frame)}:100:1"
    source, descriptor = stored(layout, layer, manifest_position=position, manifest_checksum=sha256(frame))
    found = read_toc(source, descriptor)
    assert found is not None
    assert found.members == ()


def test_a_file_that_unpacks_to_more_than_it_says(layout: Layout, chunked: Layer) -> None:
    bomb = zstandard.compress(b"\0" * (100 << 20))
    entry = {
        "type": "reg",
        "name": "bomb",
        "size": 1000,
        "digest": sha256(b"\0" * 1000),
        "offset": 10,
        "endOffset": 10 + len(bomb),
    }
    document = json.dumps({"version": 1, "entries": [entry]}).encode()
    frame = zstandard.compress(document)
    blob = b"\0" * 10 + bomb + b"\0" * 8 + frame
    position = f"{18 + len(bomb)}:{len(frame)}:{len(document)}:1"
    layer = Layer(b"", blob, chunked.media_type, chunked.annotations)
    found = read_toc(*stored(layout, layer, manifest_position=position, manifest_checksum=sha256(frame)))
    assert found is not None
    assert found.content(found.members[0]) == b"\0" * 1000


def test_a_damaged_layer_never_gives_a_wrong_answer(layout: Layout, chunked: Layer) -> None:
    """Whatever bit is flipped, in data or table: what comes out is right, or nothing does."""
    source, descriptor = stored(layout, chunked)
    path = layout.blob(str(descriptor.digest))
    start = int(chunked.annotations[f"{OLD}manifest-position"].partition(":")[0])
    chance = random.Random(3)
    refused = {"table": 0, "content": 0}
    for _ in range(300):
        damaged = bytearray(chunked.blob)
        where = chance.choice((range(250), range(start, len(damaged))))
        damaged[chance.choice(where)] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        found = read_toc(source, descriptor)
        if found is None:
            refused["table"] += 1
            continue
        try:
            assert found.content(found.members[2]) == CONTENT
        except UnusableToc:
            refused["content"] += 1
    assert min(refused.values()) > 10
