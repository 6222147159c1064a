"""What one registry says must not become what another one's image is believed to hold.

Two registries have the same manifest or the same layer; one lies wherever no digest stands in its way.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from estargz_builder import estargz
from generator.answer import ReadAnswer
from image_parts import member
from reading.pictured import CONTENT, COPIES, FRAMEWORK, OTHER, PATH, REPOSITORY, image, large, noise
from reading.test_reading_seekable import attach
from services.fake_registry import FakeRegistry, digest_of, tar_of

Read = Callable[..., ReadAnswer]


@pytest.fixture
def liar() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def content(answer: ReadAnswer) -> bytes:
    [file] = answer.files
    return file.content


def test_a_sidecar_counts_in_its_repository_only(fake: FakeRegistry, liar: FakeRegistry, read: Read) -> None:
    honest = image(fake, [large(fake, 9 << 20, {FRAMEWORK: CONTENT})], [COPIES], index=False)
    layers = [large(liar, 9 << 20, {FRAMEWORK: CONTENT})]
    lying = image(liar, layers, [COPIES], index=False)
    attach(liar, "1.0", layers, b"a lie")
    first = read(lying)
    assert (content(first), first.verification) == (b"a lie", "sidecar")
    assert read(lying).route == "cache"
    second = read(honest)
    assert second.manifest_digest == first.manifest_digest
    assert (content(second), second.verification) == (CONTENT, "digest")
    # Now that digests have settled it, they settle it everywhere.
    assert content(read(lying)) == CONTENT


def test_what_was_stopped_early_counts_in_its_own_repository_only(
    fake: FakeRegistry, liar: FakeRegistry, read: Read
) -> None:
    honest = image(fake, [large(fake, 9 << 20, {FRAMEWORK: CONTENT}, last=False)], [COPIES])
    layer = large(liar, 9 << 20, {FRAMEWORK: CONTENT}, last=False)
    lying = image(liar, [layer], [COPIES])
    other = gzip.compress(tar_of({FRAMEWORK: b"a lie", "filling": noise(9 << 20)}), 0)
    liar.blobs[layer["digest"]] = other.ljust(layer["size"], b"\0")[: layer["size"]]
    first = read(lying, pattern=PATH)
    assert (content(first), first.verification) == (b"a lie", "partial")
    second = read(honest, pattern=PATH)
    assert second.manifest_digest == first.manifest_digest
    assert content(second) == CONTENT


def test_a_table_of_contents_counts_where_the_manifest_names_it_only(
    fake: FakeRegistry, liar: FakeRegistry, read: Read
) -> None:
    def made(text: bytes) -> Any:
        return estargz(
            member("usr/lib/a", noise(6 << 20)),
            member(FRAMEWORK, text),
            member("usr/lib/b", noise(6 << 20, 1)),
        )

    true, false = made(CONTENT), made(b"framework:\n  name: y\n")
    descriptor = fake.add_blob(REPOSITORY, true.blob)
    honest = image(fake, [{**descriptor, "annotations": dict(true.annotations)}])
    plain = image(fake, [descriptor], [OTHER], tag="plain")
    # The liar's manifest names the honest layer, with a table of contents of its own making.
    lie = {**descriptor, "size": len(false.blob), "annotations": dict(false.annotations)}
    lying = image(liar, [lie])
    liar.blobs[digest_of(true.blob)] = false.blob
    first = read(lying)
    assert (content(first), first.verification) == (b"framework:\n  name: y\n", "toc")
    assert content(read(honest)) == CONTENT
    assert content(read(plain)) == CONTENT
