"""Tables of contents of eStargz layers."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest

from catalog.references import ImageRef
from estargz_builder import Entry, estargz
from generator.images.open import open_image
from generator.images.source import Descriptor, ImageSource
from generator.layers.limits import DEFAULT, LimitPassed
from generator.layers.member import Kind, Member
from generator.layers.toc import UnusableToc, announces_toc, read_toc
from image_parts import FRAMEWORK, Layer, Layout, member

CONTENT = b"framework:\n  name: sums\n"
LARGE = random.Random(1).randbytes(90_000)
MEMBERS = [
    member("opt/", type=tarfile.DIRTYPE),
    member("./opt/metadata/", type=tarfile.DIRTYPE),
    member(FRAMEWORK, CONTENT),
    member("opt/metadata/large.bin", LARGE),
    member("opt/metadata/link", type=tarfile.SYMTYPE, linkname="../metadata/./sums"),
    member("opt/metadata/hard.yml", type=tarfile.LNKTYPE, linkname=f"./{FRAMEWORK}"),
    member("opt/.wh.gone"),
    member("opt/empty"),
    member("dev/null", type=tarfile.CHRTYPE),
    member("opt/after", b"after"),
]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def stored(layout: Layout, layer: Layer) -> tuple[ImageSource, Descriptor]:
    digest = layout.image(layer)
    source = open_image(ImageRef.parse(f"oci:{layout.root}@{digest}"))
    found = source.resolve(None).layers[0]
    source.cost.bytes = 0
    return source, found


@pytest.mark.parametrize(
    "options",
    [{}, {"legacy": True}, {"chunk_size": 1000}, {"shared": 50_000}, {"shared": 3000, "chunk_size": 1000}],
)
def test_members_and_contents(layout: Layout, options: dict[str, int]) -> None:
    layer = estargz(*MEMBERS, **options)  # type: ignore[arg-type]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.blob))) as archive:
        assert archive.getnames()[-1] == "stargz.index.json"
    assert gzip.decompress(layer.blob) == layer.diff
    source, descriptor = stored(layout, layer)
    assert announces_toc(descriptor)
    found = read_toc(source, descriptor)
    assert found is not None
    assert found.verified
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
        Member("opt/after", Kind.FILE, 5),
        Member(".no.prefetch.landmark", Kind.FILE, 1),
    )
    assert [found.content(m) for m in found.members if m.kind is Kind.FILE] == [
        CONTENT,
        LARGE,
        b"",
        b"",
        b"after",
        b"\x0f",
    ]


def test_little_is_read(layout: Layout) -> None:
    many = [member(f"usr/lib/{number}", LARGE[number : number + 4000]) for number in range(2000)]
    source, descriptor = stored(layout, estargz(*many, *MEMBERS))
    found = read_toc(source, descriptor)
    assert found is not None
    toc_bytes = source.cost.bytes
    assert toc_bytes < descriptor.size / 10
    assert found.content(found.members[2002]) == CONTENT
    assert source.cost.bytes - toc_bytes < 1000


def test_a_layer_without_the_annotation_is_not_even_looked_at(layout: Layout) -> None:
    layer = estargz(*MEMBERS)
    layer.annotations = {}
    source, descriptor = stored(layout, layer)
    assert not announces_toc(descriptor)
    assert read_toc(source, descriptor) is None
    assert source.cost.bytes == 0


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "sha256:short", ""])
def test_a_table_that_is_not_the_annotated_one_counts_as_none(layout: Layout, digest: str) -> None:
    layer = estargz(*MEMBERS)
    layer.annotations = dict.fromkeys(layer.annotations, digest)
    assert read_toc(*stored(layout, layer)) is None


@pytest.mark.parametrize("cut", [1, 51, 60, 400])
def test_a_layer_without_its_footer_has_no_table(layout: Layout, cut: int) -> None:
    layer = estargz(*MEMBERS)
    layer.blob = layer.blob[:-cut]
    assert read_toc(*stored(layout, layer)) is None


def test_a_plain_gzip_layer_that_claims_to_have_one(layout: Layout) -> None:
    layer = Layer.gzipped(estargz(*MEMBERS).diff)
    layer.annotations = estargz(*MEMBERS).annotations
    assert read_toc(*stored(layout, layer)) is None


def of(entries: list[Entry], name: str) -> Entry:
    return next(entry for entry in entries if entry["name"] == name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("digest", "sha256:" + "0" * 64),
        ("offset", 1),
        ("offset", 5000),
        ("size", 5),
        ("size", 80_000),
        ("innerOffset", 7),
        ("innerOffset", 1 << 40),
    ],
)
def test_a_lie_about_a_file_is_found_out(layout: Layout, field: str, value: object) -> None:
    layer = estargz(*MEMBERS, change=lambda entries: of(entries, FRAMEWORK).update({field: value}))
    found = read_toc(*stored(layout, layer))
    assert found is not None
    with pytest.raises(UnusableToc):
        found.content(found.members[2])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("digest", "nonsense"),
        ("digest", 5),
        ("offset", -1),
        ("offset", 0),
        ("offset", 1 << 40),
        ("offset", 1.5),
        ("size", "many"),
        ("size", True),
        ("size", 1 << 70),
        ("type", "door"),
        ("name", None),
        ("chunkDigest", "x"),
    ],
)
def test_a_malformed_entry_spoils_the_table(layout: Layout, field: str, value: object) -> None:
    layer = estargz(*MEMBERS, change=lambda entries: of(entries, FRAMEWORK).update({field: value}))
    assert read_toc(*stored(layout, layer)) is None


def test_a_file_may_have_digests_of_its_chunks_only(layout: Layout) -> None:
    def without_digests(entries: list[Entry]) -> None:
        for entry in entries:
            entry.pop("digest", None)

    found = read_toc(*stored(layout, estargz(*MEMBERS, chunk_size=3000, change=without_digests)))
    assert found is not None
    assert found.content(found.members[3]) == LARGE


@pytest.mark.parametrize(
    ("field", "value"),
    [("chunkDigest", ""), ("chunkDigest", "sha256:" + "0" * 64), ("chunkOffset", 1), ("chunkSize", 9)],
)
def test_digests_that_leave_a_part_of_a_file_open_are_not_enough(
    layout: Layout, field: str, value: object
) -> None:
    def falsify(entries: list[Entry]) -> None:
        of(entries, "opt/metadata/large.bin").pop("digest")
        chunks = [entry for entry in entries if entry["type"] == "chunk"]
        chunks[1][field] = value

    found = read_toc(*stored(layout, estargz(*MEMBERS, chunk_size=40_000, change=falsify)))
    assert found is not None
    with pytest.raises(UnusableToc, match="is not what the table of contents says"):
        found.content(found.members[3])


def test_a_file_over_the_limit_is_refused(layout: Layout) -> None:
    layer = estargz(member("opt/huge", b"x" * (DEFAULT.file + 1)))
    found = read_toc(*stored(layout, layer))
    assert found is not None
    with pytest.raises(LimitPassed, match="'opt/huge' has 1048577 bytes, more than 1048576"):
        found.content(found.members[0])


def test_only_files_have_content(layout: Layout) -> None:
    found = read_toc(*stored(layout, estargz(*MEMBERS)))
    assert found is not None
    for wrong in (found.members[0], found.members[4], Member("opt/none", Kind.FILE, 3)):
        with pytest.raises(UnusableToc):
            found.content(wrong)


def test_the_last_of_two_members_of_a_name_counts(layout: Layout) -> None:
    found = read_toc(*stored(layout, estargz(member("a", b"first"), member("./a", b"second"))))
    assert found is not None
    assert [m.path for m in found.members[:2]] == ["a", "a"]
    assert found.content(found.members[1]) == b"second"
    with pytest.raises(UnusableToc):
        found.content(found.members[0])


@pytest.mark.parametrize(
    "json", [b"[]", b"{", b'{"version": 2, "entries": []}', b'{"version": 1}', b"[" * 100_000]
)
def test_malformed_tables(layout: Layout, json: bytes) -> None:
    assert read_toc(*stored(layout, estargz(*MEMBERS, change=lambda _: json))) is None


def test_a_damaged_layer_never_gives_a_wrong_answer(layout: Layout) -> None:
    """Whatever bit is flipped: what comes out is right, or nothing does."""
    layer = estargz(*MEMBERS[:3], *MEMBERS[4:], chunk_size=10)
    source, descriptor = stored(layout, layer)
    path = layout.blob(str(descriptor.digest))
    chance = random.Random(2)
    read = 0
    for _ in range(400):
        damaged = bytearray(layer.blob)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        found = read_toc(source, descriptor)
        if found is None:
            continue
        assert found.members[2] == Member(FRAMEWORK, Kind.FILE, len(CONTENT))
        try:
            assert found.content(found.members[2]) == CONTENT
            read += 1
        except UnusableToc:
            continue
    assert read > 50
