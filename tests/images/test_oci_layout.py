"""`oci:` folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalog.errors import NotFound, Refused
from catalog.references import Digest, ImageRef
from generator.images.open import open_image
from generator.images.source import Descriptor, ImageSource
from image_parts import FRAMEWORK, OCI_MANIFEST, Layer, Layout, member, sha256, tar
from services.skopeo import Skopeo

LAYER = Layer.gzipped(tar(member(FRAMEWORK, b"framework: {}\n")))
OTHER = Layer.plain(tar(member("etc/other", b"other")))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def opened(layout: Layout, rest: str = "") -> ImageSource:
    return open_image(ImageRef.parse(f"oci:{layout.root}{rest}"))


def test_the_only_image_needs_no_tag(layout: Layout) -> None:
    digest = layout.image(LAYER, OTHER)
    source = opened(layout)
    image = source.resolve(None)
    assert str(source.head()) == str(image.digest) == str(image.manifest_digest) == digest
    assert image.platform == "linux/amd64"
    assert image.platforms == ("linux/amd64",)
    assert [str(layer.digest) for layer in image.layers] == [sha256(LAYER.blob), sha256(OTHER.blob)]
    assert sha256(image.raw) == digest
    assert source.blob(image.layers[0]) == LAYER.blob
    assert source.read_range(image.layers[0], 5, 7) == LAYER.blob[5:12]
    assert source.read_range(image.layers[0], len(LAYER.blob) - 3, 100) == LAYER.blob[-3:]
    assert source.read_range(image.layers[0], len(LAYER.blob), 10) == b""
    assert source.cost.bytes > len(LAYER.blob)
    assert source.cost.requests == 0


def test_tag_digest_and_full_name(layout: Layout) -> None:
    first = layout.image(LAYER, tag="1.0")
    second = layout.image(OTHER, tag="registry.example/team/name:2.0")
    assert str(opened(layout, ":1.0").resolve(None).digest) == first
    assert str(opened(layout, ":2.0").resolve(None).digest) == second
    assert str(opened(layout, f"@{second}").resolve(None).digest) == second
    assert str(opened(layout, f":1.0@{second}").resolve(None).digest) == second


def test_an_exact_tag_outranks_the_end_of_a_name(layout: Layout) -> None:
    layout.image(LAYER, tag="registry.example/name:1.0")
    exact = layout.image(OTHER, tag="1.0")
    assert str(opened(layout, ":1.0").head()) == exact


def test_what_is_there_is_named_when_it_is_not_what_was_asked_for(layout: Layout) -> None:
    layout.image(LAYER, tag="1.0")
    layout.image(OTHER, tag="2.0")
    with pytest.raises(NotFound) as without:
        opened(layout).head()
    assert str(without.value) == f"oci:{layout.root}: the layout holds 2 images\n  it holds: 1.0, 2.0"
    with pytest.raises(NotFound) as wrong:
        opened(layout, ":3.0").resolve(None)
    assert str(wrong.value) == f"oci:{layout.root}:3.0: no image '3.0' in the layout\n  it holds: 1.0, 2.0"


def test_without_a_tag_latest_is_meant_where_there_are_several(layout: Layout) -> None:
    layout.image(LAYER, tag="1.0")
    latest = layout.image(OTHER, tag="latest")
    assert str(opened(layout).head()) == latest


def test_a_tag_that_moves_moves_no_open_image(layout: Layout) -> None:
    digest = layout.image(LAYER, tag="1.0")
    source = opened(layout, ":1.0")
    assert str(source.head()) == digest
    layout.listed.clear()
    layout.image(OTHER, tag="1.0")
    assert str(source.resolve(None).digest) == digest
    assert str(opened(layout, ":1.0").head()) != digest


def test_an_empty_layout(layout: Layout) -> None:
    with pytest.raises(NotFound, match="the layout holds 0 images"):
        opened(layout).head()


def test_platforms_of_an_index(layout: Layout) -> None:
    amd = {**layout.manifest([LAYER]), "platform": {"os": "linux", "architecture": "amd64"}}
    arm = {
        **layout.manifest([OTHER], platform="linux/arm64/v8"),
        "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
    }
    attestation = {
        **layout.manifest([]),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    index = layout.add(layout.index([attestation, amd, arm]), "1.0")
    image = opened(layout, ":1.0").resolve("linux/arm64")
    assert (str(image.digest), str(image.manifest_digest)) == (index, arm["digest"])
    assert image.platforms == ("linux/amd64", "linux/arm64")
    assert str(opened(layout, ":1.0").resolve(None).manifest_digest) == amd["digest"]
    with pytest.raises(NotFound, match="available: linux/amd64, linux/arm64"):
        opened(layout, ":1.0").resolve("linux/riscv64")


def test_a_blob_that_is_not_its_digest_is_refused(layout: Layout) -> None:
    digest = layout.image(LAYER)
    path = layout.blob(sha256(LAYER.blob))
    path.write_bytes(b"\0" + LAYER.blob[1:])
    layer = opened(layout).resolve(None).layers[0]
    with pytest.raises(Refused, match="doesn't have that digest"):
        opened(layout).blob(layer)
    path.write_bytes(LAYER.blob + b"more")
    with pytest.raises(Refused, match=r"is not [0-9]+ bytes long"):
        opened(layout).blob(layer)
    layout.blob(digest).write_bytes(layout.blob(digest).read_bytes() + b" ")
    with pytest.raises(Refused, match="doesn't have that digest"):
        opened(layout).resolve(None)


def test_a_missing_blob(layout: Layout) -> None:
    layout.image(LAYER)
    layer = opened(layout).resolve(None).layers[0]
    layout.blob(str(layer.digest)).unlink()
    with pytest.raises(NotFound, match=f"no blobs/sha256/{layer.digest.hex}"):
        opened(layout).read_range(layer, 0, 1)


def test_no_link_leads_out_of_a_layout(layout: Layout, tmp_path: Path) -> None:
    layout.image(LAYER)
    layer = opened(layout).resolve(None).layers[0]
    secret = tmp_path / "secret"
    secret.write_bytes(LAYER.blob)
    layout.blob(str(layer.digest)).unlink()
    layout.blob(str(layer.digest)).symlink_to(secret)
    with pytest.raises(Refused, match="can't be read") as refused:
        opened(layout).read_range(layer, 0, 10)
    assert (
        refused.value.hint
        == "a layout holds plain files, no links; copy it with cp -rL if the links are yours"
    )
    (layout.root / "blobs").rename(tmp_path / "elsewhere")
    (layout.root / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="can't be read"):
        opened(layout).resolve(None)


def test_the_root_itself_may_be_a_link(layout: Layout, tmp_path: Path) -> None:
    digest = layout.image(LAYER)
    (tmp_path / "link").symlink_to(layout.root)
    assert str(open_image(ImageRef.parse(f"oci:{tmp_path}/link")).head()) == digest


def test_a_fifo_is_refused_without_waiting(layout: Layout) -> None:
    layout.image(LAYER)
    (layout.root / "index.json").unlink()
    os.mkfifo(layout.root / "index.json")
    with pytest.raises(Refused, match=r"index\.json is not a plain file"):
        opened(layout).head()


def test_what_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        open_image(ImageRef.parse(f"oci:{tmp_path}/none"))
    with pytest.raises(NotFound, match="not an OCI image layout"):
        open_image(ImageRef.parse(f"oci:{tmp_path}")).head()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("oci-layout", b'{"imageLayoutVersion": "9.0"}', "image layout version '9.0' is not known"),
        ("oci-layout", b"[]", "not a JSON object"),
        ("index.json", b"{", "not JSON"),
        ("index.json", b'{"config": {}, "layers": []}', r"config\.size is not a number"),
        ("index.json", b'{"manifests": [], "config": {}}', "an image and an index at once"),
        ("index.json", b'{"manifests": [{"digest": "sha256:../../etc", "size": 1}]}', "not a sha256"),
        ("index.json", b" " * (5 << 20), "at most"),
    ],
)
def test_malformed_files(layout: Layout, file: str, content: bytes, message: str) -> None:
    layout.image(LAYER)
    (layout.root / file).write_bytes(content)
    with pytest.raises(Refused, match=message):
        opened(layout).head()


def test_a_huge_blob_is_not_read_whole(layout: Layout) -> None:
    layout.image(LAYER)
    huge = Descriptor(media_type="", digest=Digest.of(b"huge"), size=1 << 40)
    with pytest.raises(Refused, match="at most 67108864 are read at once"):
        opened(layout).blob(huge)


def test_referrers_listed_and_under_the_fallback_tag(layout: Layout) -> None:
    image = layout.manifest([LAYER])
    layout.add(image, "1.0")
    kind = "application/vnd.example.note"
    listed = layout.manifest([], subject=image, artifactType=kind, annotations={"note": "listed"})
    layout.add({**listed, "artifactType": kind})
    tagged = layout.manifest([], subject=image, artifactType=kind, annotations={"note": "tagged"})
    layout.add(layout.index([tagged]), image["digest"].replace(":", "-"))
    other = layout.manifest([], subject=image, artifactType="application/vnd.example.other")
    layout.add({**other, "artifactType": "application/vnd.example.other"})
    source = opened(layout, ":1.0")
    found = source.referrers(Digest.parse(image["digest"]), kind)
    assert {str(one.digest): one.annotations["note"] for one in found} == {
        listed["digest"]: "listed",
        tagged["digest"]: "tagged",
    }
    assert source.manifest(found[0].digest) == layout.blob(str(found[0].digest)).read_bytes()
    assert source.referrers(Digest.of(b"another"), kind) == ()
    assert listed["mediaType"] == OCI_MANIFEST


def test_a_layout_that_skopeo_wrote(layout: Layout, tmp_path: Path, skopeo: Skopeo) -> None:
    digest = layout.image(LAYER, tag="1.0")
    skopeo("copy", f"oci:{layout.root}:1.0", f"oci:{tmp_path}/copy:v2")
    skopeo("copy", f"oci:{layout.root}:1.0", f"oci-archive:{tmp_path}/copy.tar:v3")
    for reference in (
        f"oci:{tmp_path}/copy:v2",
        f"oci:{tmp_path}/copy",
        f"oci-archive:{tmp_path}/copy.tar:v3",
    ):
        source = open_image(ImageRef.parse(reference))
        image = source.resolve(None)
        assert str(image.digest) == digest
        assert source.blob(image.layers[0]) == LAYER.blob
        source.close()
