"""From a reference to an image: consistent, verified, and in as few requests as can be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from catalog.errors import NotFound, Refused
from catalog.references import Digest
from generator.images.source import ImageSource
from generator.registry.source import RegistrySource
from services.fake_registry import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, Bearer, FakeRegistry

Open = Callable[[str], RegistrySource]


def test_is_an_image_source(fake: FakeRegistry, open_source: Open) -> None:
    source: ImageSource = open_source(fake.reference("a/b", tag="1"))
    assert source.cost.requests == 0


def test_a_lone_manifest(fake: FakeRegistry, open_source: Open) -> None:
    layer = fake.add_layer("a/b", {"x": b"x"})
    made = fake.add_image("a/b", [layer], tag="1", platform="linux/arm64/v8", annotations={"k": "v"})
    image = open_source(fake.reference("a/b", tag="1")).resolve(None)
    assert str(image.digest) == str(image.manifest_digest) == made["digest"]
    assert image.digest.matches(image.raw)
    assert [str(one.digest) for one in image.layers] == [layer["digest"]]
    assert (image.platform, image.platforms, image.annotations) == (
        "linux/arm64",
        ("linux/arm64",),
        {"k": "v"},
    )


@pytest.mark.parametrize("docker", [True, False])
def test_an_index(fake: FakeRegistry, open_source: Open, docker: bool) -> None:
    kind, index_kind = (DOCKER_MANIFEST, DOCKER_INDEX) if docker else (MANIFEST, INDEX)
    images = [
        fake.add_image("a/b", [fake.add_blob("a/b", platform.encode())], platform=platform, media_type=kind)
        for platform in ("linux/arm64", "linux/amd64")
    ]
    attestation = {
        **fake.add_image("a/b", [fake.add_blob("a/b", b"statement")]),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    index = fake.add_index("a/b", [*images, attestation], tag="1", media_type=index_kind)
    source = open_source(fake.reference("a/b", tag="1"))
    image = source.resolve(None)
    assert (str(image.digest), str(image.manifest_digest)) == (index["digest"], images[1]["digest"])
    assert (image.platform, image.platforms) == ("linux/amd64", ("linux/amd64", "linux/arm64"))
    assert source.platforms() == ("linux/amd64", "linux/arm64")
    assert str(source.resolve("arm64").manifest_digest) == images[0]["digest"]
    assert len(fake.log) == 3
    with pytest.raises(NotFound, match="no image for linux/s390x"):
        source.resolve("linux/s390x")


def test_a_late_tiny_layer_costs_five_requests(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True)
    layers = [fake.add_blob("a/b", b"x" * 100_000), fake.add_layer("a/b", {"opt/metadata/x": b"y" * 5000})]
    fake.add_image("a/b", layers, tag="1")
    source = open_source(fake.reference("a/b", tag="1"))
    image = source.resolve(None)
    source.blob(image.config)
    source.blob(image.layers[-1])
    assert source.cost.requests == len(fake.log) == 5
    assert source.cost.bytes == fake.sent() < 5000


def test_head_costs_one_request_and_pins_what_follows(fake: FakeRegistry, open_source: Open) -> None:
    old = fake.add_image("a/b", [fake.add_blob("a/b", b"old")], tag="1")
    source = open_source(fake.reference("a/b", tag="1"))
    assert str(source.head()) == old["digest"]
    assert [(one.method, one.sent) for one in fake.log] == [("HEAD", 0)]
    fake.add_image("a/b", [fake.add_blob("a/b", b"new")], tag="1")
    assert str(source.resolve(None).digest) == old["digest"]
    assert str(source.head()) == old["digest"]


def test_a_tag_whose_image_is_gone_since_the_head(fake: FakeRegistry, open_source: Open) -> None:
    old = fake.add_image("a/b", [fake.add_blob("a/b", b"old")], tag="1")
    source = open_source(fake.reference("a/b", tag="1"))
    source.head()
    new = fake.add_image("a/b", [fake.add_blob("a/b", b"new")], tag="1")
    del fake.manifests["a/b", old["digest"]]
    assert str(source.resolve(None).digest) == new["digest"]


def test_one_source_speaks_of_one_image(fake: FakeRegistry, open_source: Open) -> None:
    old = fake.add_image("a/b", [fake.add_blob("a/b", b"old")], tag="1")
    source = open_source(fake.reference("a/b", tag="1"))
    first = source.resolve(None)
    fake.add_image("a/b", [fake.add_blob("a/b", b"new")], tag="1")
    assert source.resolve(None) == first
    assert str(source.head()) == old["digest"]


def test_a_digest_needs_no_head(fake: FakeRegistry, open_source: Open) -> None:
    made = fake.add_image("a/b", [], tag="1")
    source = open_source(fake.reference("a/b", tag="other", digest=made["digest"]))
    assert str(source.head()) == made["digest"]
    assert not fake.log
    assert str(source.resolve(None).digest) == made["digest"]


@pytest.mark.parametrize("how", ["no header", "refused", "nonsense"])
def test_no_digest_from_a_head(fake: FakeRegistry, open_source: Open, how: str) -> None:
    made = fake.add_image("a/b", [], tag="1")
    if how == "no header":
        fake.digest_header = False
    elif how == "refused":
        fake.inject("/manifests/", method="HEAD", status=405)
    else:
        fake.inject(
            "/manifests/", method="HEAD", status=200, headers={"Docker-Content-Digest": "../../etc/passwd"}
        )
    source = open_source(fake.reference("a/b", tag="1"))
    assert source.head() is None
    assert str(source.resolve(None).digest) == made["digest"]


def test_other_bytes_than_the_digests(fake: FakeRegistry, open_source: Open) -> None:
    wanted = Digest.of(b"wanted")
    made = fake.add_image("a/b", [], tag="1")
    fake.manifests["a/b", str(wanted)] = fake.manifests["a/b", made["digest"]]
    reference = fake.reference("a/b", digest=str(wanted))
    with pytest.raises(Refused) as caught:
        open_source(reference).resolve(None)
    assert str(caught.value) == f"{reference}: the registry answers other bytes than those of {wanted}"


def test_a_platforms_manifest_is_verified(fake: FakeRegistry, open_source: Open) -> None:
    one, other = fake.add_image("a/b", []), fake.add_image("a/b", [fake.add_blob("a/b", b"x")])
    fake.add_index("a/b", [one], tag="1")
    fake.manifests["a/b", one["digest"]] = fake.manifests["a/b", other["digest"]]
    with pytest.raises(Refused, match=f"other bytes than those of {one['digest']}"):
        open_source(fake.reference("a/b", tag="1")).resolve(None)


def test_a_config_is_verified(fake: FakeRegistry, open_source: Open) -> None:
    fake.add_image("a/b", [], tag="1")
    fake.inject("/blobs/", corrupt=True)
    with pytest.raises(Refused, match="doesn't match its digest"):
        open_source(fake.reference("a/b", tag="1")).resolve(None)


def test_images_by_sha512(fake: FakeRegistry, open_source: Open) -> None:
    import hashlib  # noqa: PLC0415

    made = fake.add_image("a/b", [], tag="1")
    media_type, raw = fake.manifests["a/b", made["digest"]]
    digest = "sha512:" + hashlib.sha512(raw).hexdigest()
    fake.manifests["a/b", digest] = (media_type, raw)
    image = open_source(fake.reference("a/b", digest=digest)).resolve(None)
    assert str(image.digest) == digest


def test_no_such_tag(fake: FakeRegistry, open_source: Open) -> None:
    source = open_source(fake.reference("a/b", tag="absent"))
    for ask in (source.head, source.platforms):
        with pytest.raises(NotFound) as caught:
            ask()
        assert str(caught.value).startswith(f"{fake.host}/a/b: tag 'absent' doesn't exist")


def test_the_media_type_can_come_from_the_header(fake: FakeRegistry, open_source: Open) -> None:
    made = fake.add_image("a/b", [])
    value = json.loads(fake.manifests["a/b", made["digest"]][1])
    del value["mediaType"]
    fake.add_manifest("a/b", json.dumps(value).encode(), tag="1", media_type=DOCKER_MANIFEST)
    assert open_source(fake.reference("a/b", tag="1")).resolve(None).platform == "linux/amd64"


def test_docker_hub_is_asked_at_its_own_address(open_source: Open) -> None:
    source = open_source("ubuntu:22.04")
    assert source._client.base == "https://registry-1.docker.io"
    assert source.ref.repository == "library/ubuntu"


def test_answers_are_plain_values(fake: FakeRegistry, open_source: Open) -> None:
    fake.add_image("a/b", [], tag="1")
    image = open_source(fake.reference("a/b", tag="1")).resolve(None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        image.platform = "x"  # type: ignore[misc]
