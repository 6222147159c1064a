"""A table of contents is worth its requests only where the registry serves parts of a blob."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from estargz_builder import estargz
from generator.layers.toc import UnusableToc, read_toc
from generator.registry.source import RegistrySource
from image_parts import FRAMEWORK, member
from services.fake_registry import FakeRegistry

CONTENT = b"framework:\n  name: sums\n"
Open = Callable[[str], RegistrySource]


def test_a_layer_whose_registry_ignores_ranges(fake: FakeRegistry, open_source: Open) -> None:
    filler = random.Random(1).randbytes(2_000_000)
    made = estargz(member("filler", filler), member(FRAMEWORK, CONTENT))
    stored = {**fake.add_blob("a/b", made.blob), "annotations": made.annotations}
    fake.add_image("a/b", [stored], tag="1")
    source = open_source(fake.reference("a/b", tag="1"))
    (layer,) = source.resolve(None).layers

    found = read_toc(source, layer)
    assert found is not None
    (file,) = [one for one in found.members if one.path == FRAMEWORK]
    assert found.content(file) == CONTENT
    assert fake.sent(str(layer.digest)) < 100_000

    fake.inject(ignore_range=True)
    with pytest.raises(UnusableToc, match="ignores ranges"):
        found.content(file)
    assert read_toc(source, layer) is None
