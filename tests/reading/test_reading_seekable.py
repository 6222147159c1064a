"""Sidecars and tables of contents as rungs of the ladder: when they are used, and when they are not."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from estargz_builder import estargz
from generator.answer import ReadAnswer, Status
from generator.sidecar import ANNOTATION, ARTIFACT_TYPE
from image_parts import Layer, member
from reading.pictured import (
    CONTENT,
    COPIES,
    FRAMEWORK,
    OTHER,
    PATH,
    REPOSITORY,
    blobs_asked_for,
    image,
    large,
    tiny,
    unread,
)
from services.fake_registry import FakeRegistry

Read = Callable[..., ReadAnswer]
PATTERN = "/opt/metadata/**/framework.yml"
GIGABYTE = 1 << 30


def document(layers: list[dict[str, Any]], content: bytes | None, **more: Any) -> str:
    files = [
        {
            "path": PATH,
            "layer": layers[-1]["digest"],
            "sha256": hashlib.sha256(content).hexdigest(),
            "content": content.decode(),
        }
        for content in ([content] if content is not None else [])
    ]
    digests = [layer["digest"] for layer in layers]
    return json.dumps(
        {
            "version": 1,
            "pattern": PATTERN,
            "platform": "linux/amd64",
            "layers": digests,
            "files": files,
            **more,
        }
    )


def attach(fake: FakeRegistry, tag: str, layers: list[dict[str, Any]], content: bytes | None) -> None:
    subject = fake.tags[REPOSITORY, tag]
    descriptor = {
        "mediaType": fake.manifests[REPOSITORY, subject][0],
        "digest": subject,
        "size": len(fake.manifests[REPOSITORY, subject][1]),
    }
    text = document(layers, content, manifest=subject)
    fake.add_artifact(REPOSITORY, descriptor, ARTIFACT_TYPE, annotations={ANNOTATION: text})


def test_a_sidecar_in_the_manifest_costs_nothing_more(fake: FakeRegistry, read: Read) -> None:
    layers = [unread(GIGABYTE), unread(GIGABYTE, 1)]
    answer = read(image(fake, layers, annotations={ANNOTATION: document(layers, CONTENT)}))
    assert (answer.status, answer.route, answer.verification) == (Status.FOUND, "sidecar", "sidecar")
    assert (answer.complete, answer.unread, answer.files[0].content) == (True, (), CONTENT)
    assert (answer.cost.requests, fake.count("/blobs/")) == (2, 0)


@pytest.mark.parametrize(("api", "requests"), [(True, 1), (False, 2)])
def test_an_attached_sidecar_saves_a_large_read(
    fake: FakeRegistry, read: Read, api: bool, requests: int
) -> None:
    layers = [unread(GIGABYTE), unread(GIGABYTE, 1)]
    reference = image(fake, layers, [OTHER, COPIES], index=False)
    fake.referrers = api
    attach(fake, "1.0", layers, CONTENT)
    fake.reset()
    answer = read(reference)
    assert (answer.route, answer.files[0].content) == ("sidecar", CONTENT)
    # Besides them only the manifest, and the config, which named the platform and the hints.
    assert answer.cost.requests == requests + 2


def test_a_sidecar_can_say_that_there_is_no_file(fake: FakeRegistry, read: Read) -> None:
    layers = [unread(GIGABYTE)]
    reference = image(fake, layers, [OTHER], index=False)
    attach(fake, "1.0", layers, None)
    answer = read(reference)
    assert (answer.status, answer.verification, answer.files) == (Status.ABSENT, "sidecar", ())


def test_a_sidecar_is_not_asked_for_where_tiny_layers_settle_it(fake: FakeRegistry, read: Read) -> None:
    read(image(fake, [unread(GIGABYTE), tiny(fake, {FRAMEWORK: CONTENT})], [OTHER, COPIES]))
    assert fake.count("/referrers/") == 0


def test_a_sidecar_that_contradicts_a_layer_is_passed_over(fake: FakeRegistry, read: Read) -> None:
    above = tiny(fake, {FRAMEWORK: CONTENT})
    layers = [large(fake, 9 << 20), above]
    reference = image(fake, layers, [COPIES, OTHER], index=False)
    attach(fake, "1.0", layers, b"something else")
    answer = read(reference)
    assert (answer.route, answer.files[0].content) == ("layers", CONTENT)


@pytest.mark.parametrize("wish", [{"complete": True}, {"verify_full": True}])
def test_who_wants_proof_gets_no_sidecar(fake: FakeRegistry, read: Read, wish: dict[str, bool]) -> None:
    layers = [large(fake, 9 << 20, {FRAMEWORK: CONTENT})]
    reference = image(fake, layers, annotations={ANNOTATION: document(layers, b"a lie")})
    assert read(reference).files[0].content == b"a lie"
    answer = read(reference, **wish)
    assert (answer.files[0].content, answer.verification) == (CONTENT, "digest")


def noise(name: str, size: int) -> Any:
    return member(name, random.Random(name).randbytes(size))


def stargz(fake: FakeRegistry, **options: Any) -> dict[str, Any]:
    layer: Layer = estargz(
        noise("usr/lib/a", 6 << 20), member(FRAMEWORK, CONTENT), noise("usr/lib/b", 6 << 20), **options
    )
    return {**fake.add_blob(REPOSITORY, layer.blob), "annotations": dict(layer.annotations)}


def test_a_table_of_contents_stands_for_its_layer(fake: FakeRegistry, read: Read) -> None:
    layer = stargz(fake)
    reference = image(fake, [unread(GIGABYTE), layer], [OTHER, OTHER])
    answer = read(reference)
    assert (answer.route, answer.verification, answer.files[0].content) == ("toc", "toc", CONTENT)
    assert fake.sent(f"/blobs/{layer['digest']}") < 200_000
    # It is as good as the layer for whoever wants completeness, but not for who wants the layer's digest.
    alone = image(fake, [layer], tag="2")
    assert read(alone, complete=True, cache=False).route == "toc"
    full = read(alone, verify_full=True)
    assert (full.route, full.verification) == ("scan", "digest")
    assert full.files[0].content == CONTENT


def test_facts_from_a_table_of_contents_are_kept(fake: FakeRegistry, read: Read) -> None:
    layer = stargz(fake)
    read(image(fake, [layer]))
    before = blobs_asked_for(fake, layer)
    answer = read(image(fake, [layer, tiny(fake, {"etc/x": b""})], tag="2"))
    assert (answer.verification, answer.files[0].content) == ("toc", CONTENT)
    assert blobs_asked_for(fake, layer) == before


def test_a_lying_table_of_contents_makes_the_layer_scanned(fake: FakeRegistry, read: Read) -> None:
    def lie(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if entry["name"] == FRAMEWORK:
                entry["digest"] = "sha256:" + "0" * 64

    answer = read(image(fake, [stargz(fake, change=lie)]))
    assert (answer.route, answer.verification, answer.files[0].content) == ("scan", "digest", CONTENT)


def test_an_unusable_table_of_contents_makes_the_layer_scanned(fake: FakeRegistry, read: Read) -> None:
    layer = {
        **stargz(fake),
        "annotations": {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + "0" * 64},
    }
    answer = read(image(fake, [layer]))
    assert (answer.verification, answer.files[0].content) == ("digest", CONTENT)
