"""Manifests and indexes: both families, the choice of a platform, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import EvaldockError, NotFound, Refused, UsageError
from catalog.references import Digest
from generator.images.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    check_image,
    choose,
    config_platform,
    normal_platform,
    parse,
)
from generator.images.resolving import resolve

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


def blob(text: str, media_type: str = "application/vnd.oci.image.layer.v1.tar+gzip") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(text.encode())), "size": len(text)}


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob("config", OCI_CONFIG),
        "layers": [blob("a"), blob("b")],
        **changes,
    }


def entry(name: str, platform: str | None, **changes: Any) -> dict[str, Any]:
    found = {**blob(name, OCI_MANIFEST), **changes}
    if platform:
        found["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return found


def index(*entries: Mapping[str, Any], **changes: Any) -> Index:
    raw = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **changes})
    found = parse(raw, "x")
    assert isinstance(found, Index)
    return found


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_reads_a_manifest(media_type: str) -> None:
    found = parse(encode(manifest(mediaType=media_type, annotations={"a": "b", "n": 1})), "x")
    assert isinstance(found, Manifest)
    assert (found.media_type, found.config.size, len(found.layers)) == (media_type, 6, 2)
    assert found.annotations == {"a": "b"}
    check_image(found, "x")


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_reads_an_index(media_type: str) -> None:
    found = index(entry("a", "linux/amd64"), entry("b", "linux/arm64/v8"), mediaType=media_type)
    assert found.platforms == ("linux/amd64", "linux/arm64")


def test_media_type_may_come_from_outside() -> None:
    value = manifest()
    del value["mediaType"]
    found = parse(encode(value), "x", f"{DOCKER_MANIFEST}; charset=utf-8")
    assert found.media_type == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"<html>", "x: the manifest is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "x: the manifest is not a JSON object"),
        (b"[" * 200_000, "x: the manifest is not JSON: nested too deeply"),
        (b"\xff", None),
        (b" " * (4 * 1024 * 1024 + 1), "x: the manifest has 4194305 bytes; at most 4194304 are read"),
        (encode({"schemaVersion": 1, "fsLayers": []}), None),
        (encode({"schemaVersion": 2}), None),
        (encode(manifest(manifests=[])), "x: the manifest is an image and an index at once"),
        (encode(manifest(mediaType=OCI_INDEX)), f"x: an image that calls itself {OCI_INDEX}"),
        (
            encode({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": []}),
            f"x: an index that calls itself {OCI_MANIFEST}",
        ),
        (encode(manifest(layers=["x"])), "x: layers[0] is not a descriptor"),
        (
            encode(manifest(layers=[{**blob("a"), "size": True}])),
            "x: layers[0].size is not a number of bytes",
        ),
        (encode(manifest(layers=[{**blob("a"), "size": -1}])), "x: layers[0].size is not a number of bytes"),
        (
            encode(manifest(layers=[{**blob("a"), "digest": "../../etc"}])),
            "x: layers[0].digest is not a sha256 or sha512 digest",
        ),
        (encode({"schemaVersion": 2, "manifests": {}}), "x: manifests is not a list"),
    ],
)
def test_refuses_what_is_no_manifest(raw: bytes, message: str | None) -> None:
    with pytest.raises(Refused) as caught:
        parse(raw, "x")
    if message:
        assert str(caught.value) == message


def test_schema_1_says_what_to_do() -> None:
    with pytest.raises(Refused) as caught:
        parse(encode({"schemaVersion": 1, "fsLayers": []}), "a:1")
    assert str(caught.value) == (
        "a:1: the image's manifest is of Docker's schema 1, which carries no verifiable layers\n"
        "  pull and push the image once with a current tool; it becomes schema 2"
    )


@pytest.mark.parametrize(
    ("media_type", "word"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "is foreign"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "is foreign"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "is encrypted"),
    ],
)
def test_unreadable_layers(media_type: str, word: str) -> None:
    found = parse(encode(manifest(layers=[blob("a"), blob("b", media_type)])), "x")
    assert isinstance(found, Manifest)
    with pytest.raises(Refused, match=word) as caught:
        check_image(found, "x")
    assert "layer 2 of 2" in str(caught.value)


def test_an_artifact_is_no_image() -> None:
    for changes in ({"artifactType": "application/x"}, {"config": blob("c", "application/x")}):
        found = parse(encode(manifest(**changes)), "x")
        assert isinstance(found, Manifest)
        with pytest.raises(Refused) as caught:
            check_image(found, "x")
        assert str(caught.value) == "x: not a container image but an artifact of type 'application/x'"


@pytest.mark.parametrize(
    ("platforms", "asked", "chosen"),
    [
        (["linux/amd64", "linux/arm64"], None, "linux/amd64"),
        (["linux/arm64"], None, "linux/arm64"),
        (["linux/amd64", "linux/arm64/v8"], "linux/arm64", "linux/arm64"),
        (["linux/amd64", "linux/arm64"], "arm64", "linux/arm64"),
        (["linux/amd64", "linux/arm64"], "linux/aarch64", "linux/arm64"),
        (["linux/arm64", "linux/amd64"], "linux/x86_64", "linux/amd64"),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm", "linux/arm"),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm/v6", "linux/arm/v6"),
        (["linux/amd64", "linux/arm/v6"], "linux/arm", "linux/arm/v6"),
        (["windows/amd64", "linux/s390x"], "windows/amd64", "windows/amd64"),
        (["linux/amd64", "unknown/unknown"], None, "linux/amd64"),
        (["linux/arm64", "unknown/unknown"], None, "linux/arm64"),
    ],
)
def test_chooses_a_platform(platforms: list[str], asked: str | None, chosen: str) -> None:
    found = index(*(entry(name, name) for name in platforms))
    assert choose(found, asked, "x").platform == chosen


@pytest.mark.parametrize(
    ("platforms", "asked", "message"),
    [
        (
            ["linux/arm64", "linux/s390x"],
            None,
            "x: no image for linux/amd64\n  choose one with --platform; available: linux/arm64, linux/s390x",
        ),
        (["linux/arm64"], "linux/amd64", "x: no image for linux/amd64\n  available: linux/arm64"),
        (
            ["linux/arm/v5", "linux/arm/v6"],
            "linux/arm",
            "x: no image for linux/arm\n  available: linux/arm/v5, linux/arm/v6",
        ),
        (["linux/arm/v7"], "linux/arm/v6", "x: no image for linux/arm/v6\n  available: linux/arm"),
        (["unknown/unknown"], None, "x: the index lists no image"),
        ([], None, "x: the index lists no image"),
    ],
)
def test_says_which_platforms_there_are(platforms: list[str], asked: str | None, message: str) -> None:
    found = index(*(entry(name, name) for name in platforms))
    with pytest.raises(NotFound) as caught:
        choose(found, asked, "x")
    assert str(caught.value) == message


def test_attestations_and_other_things_are_no_images() -> None:
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    found = index(
        entry("attestation", "linux/amd64", annotations=attestation),
        entry("signature", "linux/amd64", artifactType="application/x"),
        entry("chart", "linux/amd64", mediaType="application/x"),
        entry("image", "linux/amd64"),
    )
    assert choose(found, None, "x").descriptor.digest == Digest.of(b"image")
    assert len(found.entries) == 4
    assert len(found.images) == 1


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux//v7", "li\nnux/amd64"])
def test_refuses_platforms_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        normal_platform(text)


@pytest.mark.parametrize(
    "config", [b"{}", b"null", b'{"os": "linux"}', b'{"os": 1, "architecture": "amd64"}']
)
def test_refuses_configs_without_platform(config: bytes) -> None:
    with pytest.raises(Refused):
        config_platform(config, "x")


class Store:
    """Contents by digest, as a transport would fetch them."""

    def __init__(self) -> None:
        self.contents: dict[Digest, bytes] = {}
        self.fetched: list[Digest] = []

    def add(self, value: object) -> Digest:
        raw = encode(value)
        self.contents[Digest.of(raw)] = raw
        return Digest.of(raw)

    def fetch(self, digest: Digest) -> bytes:
        self.fetched.append(digest)
        return self.contents[digest]

    def resolve(self, digest: Digest, platform: str | None = None) -> Any:
        return resolve(
            self.contents[digest],
            digest=digest,
            platform=platform,
            place="x",
            manifest=self.fetch,
            blob=lambda descriptor: self.fetch(descriptor.digest),
        )

    def add_image(self, platform: str) -> Digest:
        names = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        config = self.add(names)
        descriptor = {"mediaType": OCI_CONFIG, "digest": str(config), "size": len(self.contents[config])}
        return self.add(manifest(config=descriptor))

    def listed(self, digest: Digest, media_type: str = OCI_MANIFEST, **more: Any) -> dict[str, Any]:
        size = len(self.contents[digest])
        return {"mediaType": media_type, "digest": str(digest), "size": size, **more}


def test_resolves_a_lone_manifest_by_its_config() -> None:
    store = Store()
    digest = store.add_image("linux/arm64")
    image = store.resolve(digest)
    assert (image.digest, image.manifest_digest) == (digest, digest)
    assert (image.platform, image.platforms) == ("linux/arm64", ("linux/arm64",))
    with pytest.raises(NotFound) as caught:
        store.resolve(digest, "linux/amd64")
    assert str(caught.value) == "x: no image for linux/amd64\n  available: linux/arm64"


def test_resolves_through_indexes() -> None:
    store = Store()
    arm, amd = store.add_image("linux/arm64"), store.add_image("linux/amd64")
    platforms = [{"os": "linux", "architecture": name} for name in ("arm64", "amd64")]
    inner = store.add(
        {
            "schemaVersion": 2,
            "manifests": [
                store.listed(arm, platform=platforms[0]),
                store.listed(amd, platform=platforms[1]),
            ],
        }
    )
    outer = store.add({"schemaVersion": 2, "manifests": [store.listed(inner, OCI_INDEX)]})
    image = store.resolve(outer)
    assert (image.digest, image.manifest_digest) == (outer, amd)
    assert image.platforms == ("linux/amd64", "linux/arm64")
    assert store.fetched == [inner, amd]


def test_an_index_within_itself_ends() -> None:
    store = Store()
    digest = Digest.of(b"always the same")
    raw = encode({"schemaVersion": 2, "manifests": [{**blob("i", OCI_INDEX), "digest": str(digest)}]})
    store.contents[digest] = raw
    with pytest.raises(Refused) as caught:
        store.resolve(digest)
    assert str(caught.value) == "x: indexes nested too deeply"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.just(OCI_MANIFEST)
    | st.just(OCI_INDEX),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["config", "layers", "manifests", "digest", "size", "platform", "os", "mediaType"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(json_values)
def test_whatever_it_is_there_is_an_error_for_it(value: object) -> None:
    try:
        found = parse(encode(value), "x")
        if isinstance(found, Index):
            choose(found, None, "x")
        else:
            check_image(found, "x")
    except EvaldockError:
        pass
