"""Pushing what refers to an image: with the referrers API, without it, and into the real registry."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from catalog.errors import EvaldockError, Refused, Unreachable
from catalog.references import Digest, ImageRef
from generator.images.manifest import OCI_INDEX, OCI_MANIFEST
from generator.images.source import Descriptor
from generator.registry.client import Network
from generator.registry.push import Artifact, Pushed, push
from generator.registry.source import RegistrySource
from logged_in import SECRET, login
from services.fake_registry import Basic, Bearer, FakeRegistry

Open = Callable[[str], RegistrySource]
KIND = "application/x.mine"


class Pushing:
    def __init__(self, fake: FakeRegistry, network: Network) -> None:
        self.fake = fake
        self.network = network
        made = fake.add_image("a/b", [], tag="1")
        self.tag = made["digest"].replace(":", "-")
        self.subject = Descriptor(
            media_type=made["mediaType"], digest=Digest.parse(made["digest"]), size=made["size"]
        )

    def push(self, document: bytes = b'{"some": "thing"}', **annotations: str) -> Pushed:
        artifact = Artifact(
            subject=self.subject,
            artifact_type=KIND,
            document=document,
            name="document.json",
            annotations=annotations,
        )
        return push(ImageRef.parse(self.fake.reference("a/b", tag="1")), artifact, self.network)

    def listed(self) -> list[dict[str, object]]:
        index = json.loads(self.fake.manifests["a/b", self.fake.tags["a/b", self.tag]][1])
        manifests = index["manifests"]
        assert isinstance(manifests, list)
        return manifests


@pytest.fixture
def pushing(fake: FakeRegistry, network: Network) -> Pushing:
    return Pushing(fake, network)


def test_an_artifact(pushing: Pushing) -> None:
    pushed = pushing.push(key="value")
    assert not pushed.fallback
    manifest = json.loads(pushing.fake.manifests["a/b", str(pushed.digest)][1])
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["artifactType"] == KIND
    assert manifest["annotations"] == {"key": "value"}
    assert manifest["subject"] == {
        "mediaType": pushing.subject.media_type,
        "digest": str(pushing.subject.digest),
        "size": pushing.subject.size,
    }
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert pushing.fake.blobs[manifest["config"]["digest"]] == b"{}"
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == KIND
    assert pushing.fake.blobs[layer["digest"]] == b'{"some": "thing"}'
    assert [tag for _, tag in pushing.fake.tags] == ["1"]


def test_the_same_again_is_the_same(pushing: Pushing) -> None:
    first = pushing.push()
    pushing.fake.reset()
    assert pushing.push().digest == first.digest
    assert pushing.fake.count("/uploads/") == 0


def test_without_referrers_the_tag_lists_it(pushing: Pushing, open_source: Open) -> None:
    pushing.fake.referrers = False
    pushed = pushing.push(key="value")
    assert pushed.fallback
    assert pushing.listed() == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": str(pushed.digest),
            "size": pushed.size,
            "artifactType": KIND,
            "annotations": {"key": "value"},
        }
    ]
    source = open_source(pushing.fake.reference("a/b", tag="1"))
    (found,) = source.referrers(pushing.subject.digest, KIND)
    assert (found.digest, found.annotations) == (pushed.digest, {"key": "value"})


def test_what_others_listed_stays(pushing: Pushing) -> None:
    pushing.fake.referrers = False
    theirs = {
        **pushing.fake.add_manifest("a/b", {"mediaType": OCI_MANIFEST, "config": {"mediaType": "x"}}),
        "artifactType": "application/x.theirs",
        "urls": ["https://example.invalid/"],
    }
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [theirs], "annotations": {"a": "b"}}
    pushing.fake.add_manifest("a/b", index, tag=pushing.tag)
    pushed = pushing.push()
    pushing.push()
    assert [one["digest"] for one in pushing.listed()] == [theirs["digest"], str(pushed.digest)]
    assert pushing.listed()[0] == theirs
    written = json.loads(pushing.fake.manifests["a/b", pushing.fake.tags["a/b", pushing.tag]][1])
    assert written["annotations"] == {"a": "b"}


def test_an_image_under_the_tag_is_not_overwritten(pushing: Pushing) -> None:
    pushing.fake.referrers = False
    theirs = pushing.fake.add_image("a/b", [pushing.fake.add_blob("a/b", b"x")], tag=pushing.tag)
    with pytest.raises(Refused) as caught:
        pushing.push()
    assert str(caught.value) == (
        f"{pushing.fake.host}/a/b:{pushing.tag}: the tag for referrers holds an image: it isn't overwritten\n"
        "  remove the tag if nothing needs it, then try again"
    )
    assert pushing.fake.tags["a/b", pushing.tag] == theirs["digest"]


def test_writers_at_the_same_time_all_get_in(pushing: Pushing) -> None:
    pushing.fake.referrers = False
    pushing.fake.latency = 0.01
    with ThreadPoolExecutor(3) as pool:
        pushed = list(pool.map(lambda n: pushing.push(str(n).encode()), range(3)))
    assert {one["digest"] for one in pushing.listed()} == {str(one.digest) for one in pushed}


def test_a_tag_that_others_keep_replacing(pushing: Pushing) -> None:
    pushing.fake.referrers = False
    pushing.fake.inject(pushing.tag, method="PUT", status=201)  # taken, and lost at once
    with pytest.raises(Unreachable, match="other writers replaced the list of referrers each time"):
        pushing.push()


@pytest.mark.parametrize(
    "auth", [Basic("user", SECRET), Bearer("user", SECRET), Bearer("user", SECRET, anonymous=True)]
)
@pytest.mark.parametrize("api", [True, False])
def test_with_credentials(
    pushing: Pushing, caplog: pytest.LogCaptureFixture, auth: Basic | Bearer, api: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    pushing.fake.auth, pushing.fake.referrers = auth, api
    login(pushing.fake.host)
    assert pushing.push().fallback is not api
    secrets = [SECRET, base64.b64encode(f"user:{SECRET}".encode()).decode(), *pushing.fake.tokens]
    assert [secret for secret in secrets if secret in caplog.text] == []
    # One token to push with serves every step.
    assert pushing.fake.count("/jwt/auth") == isinstance(auth, Bearer)


def test_without_permission(pushing: Pushing) -> None:
    pushing.fake.auth = Bearer("user", SECRET, anonymous=True)
    with pytest.raises(Refused) as caught:
        pushing.push()
    assert str(caught.value) == (
        f"{pushing.fake.host}/a/b: access to what is pushed is denied (UNAUTHORIZED unauthorized)\n"
        f"  no credentials are kept for {pushing.fake.host}: docker login, or REGISTRY_AUTH_FILE"
    )


@pytest.mark.parametrize("match", ["/blobs/", "/uploads/", "/manifests/"])
def test_passing_faults(pushing: Pushing, match: str) -> None:
    pushing.fake.inject(match, status=503, times=2)
    pushing.fake.inject(match, drop=True, times=1)
    pushed = pushing.push()
    assert ("a/b", str(pushed.digest)) in pushing.fake.manifests


def test_an_upload_is_not_sent_just_anywhere(pushing: Pushing) -> None:
    elsewhere = {"Location": "http://storage.example/upload"}
    pushing.fake.inject("/uploads/", method="POST", status=202, headers=elsewhere)
    with pytest.raises(
        Refused, match=r"sends the upload to http://storage.example/upload, which is not https"
    ):
        pushing.push()


def test_an_upload_to_another_host_carries_no_token(pushing: Pushing) -> None:
    login(pushing.fake.host)
    pushing.fake.auth = Bearer("user", SECRET)
    elsewhere = {"Location": f"http://{pushing.fake.other}/upload"}
    pushing.fake.inject("/uploads/", method="POST", status=202, headers=elsewhere)
    with pytest.raises(EvaldockError):
        pushing.push()
    (sent,) = [one for one in pushing.fake.log if one.path == "/upload"]
    assert "authorization" not in sent.headers


@pytest.mark.service("registry")
def test_into_the_real_registry(registry: str, network: Network, open_source: Open) -> None:
    """docker-registry 2.8: no referrers API, so the tag lists the artifact."""
    config = b'{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}'
    base = f"http://{registry}/v2/push/real"
    started = requests.post(f"{base}/blobs/uploads/", timeout=10)
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    location = started.headers["Location"]
    requests.put(location, params={"digest": digest}, data=config, timeout=10).raise_for_status()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": len(config),
        },
        "layers": [],
    }
    raw = json.dumps(manifest).encode()
    headers = {"Content-Type": OCI_MANIFEST}
    requests.put(f"{base}/manifests/1", data=raw, headers=headers, timeout=10).raise_for_status()

    source = open_source(f"{registry}/push/real:1")
    image = source.resolve(None)
    subject = Descriptor(media_type=OCI_MANIFEST, digest=image.manifest_digest, size=len(image.raw))
    for number in range(2):
        artifact = Artifact(
            subject=subject,
            artifact_type=KIND,
            document=f'"{number}"'.encode(),
            name="document.json",
            annotations={"number": str(number)},
        )
        pushed = push(source.ref, artifact, network)
        assert pushed.fallback
    found = source.referrers(image.manifest_digest, KIND)
    assert [one.annotations["number"] for one in found] == ["0", "1"]
    artifact_manifest = json.loads(source.manifest(found[1].digest))
    assert artifact_manifest["artifactType"] == KIND
    (layer,) = artifact_manifest["layers"]
    blob = Descriptor(media_type=KIND, digest=Digest.parse(layer["digest"]), size=layer["size"])
    assert source.blob(blob) == b'"1"'
    assert source.read_range(blob, 1, 1) == b"1"
