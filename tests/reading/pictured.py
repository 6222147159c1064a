"""Images for the fake registry: some of their layers exist, of others only the size is known."""

from __future__ import annotations

import gzip
import random
from collections.abc import Mapping, Sequence
from typing import Any

from services.fake_registry import LAYER_GZIP, FakeRegistry, digest_of, tar_of

Layer = dict[str, Any]

REPOSITORY = "team/harness"
FRAMEWORK = "opt/metadata/x/framework.yml"
PATH = f"/{FRAMEWORK}"
CONTENT = b"framework:\n  name: x\n"
COPIES = {"created_by": "COPY framework.yml /opt/metadata/x/framework.yml # buildkit"}
RUNS = {"created_by": "RUN /bin/sh -c ./install.sh --to /opt/metadata # buildkit"}
OTHER = {"created_by": "RUN /bin/sh -c pip install everything # buildkit"}
NOTHING = {"created_by": "ENV LANG=C", "empty_layer": True}


def unread(size: int, seed: int = 0) -> Layer:
    """A layer that the registry doesn't have: whoever asks for it gets an error."""
    return {"mediaType": LAYER_GZIP, "digest": digest_of(b"unread %d %d" % (size, seed)), "size": size}


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def large(
    fake: FakeRegistry,
    size: int,
    files: Mapping[str, bytes] | None = None,
    *,
    seed: int = 0,
    last: bool = True,
) -> Layer:
    """A layer of about `size` stored bytes, with `files` at its end or its start."""
    filling = {f"usr/lib/{seed}-{number}": noise(1 << 20, seed + number) for number in range(size >> 20)}
    ordered = {**filling, **(files or {})} if last else {**(files or {}), **filling}
    return fake.add_blob(REPOSITORY, gzip.compress(tar_of(ordered), 0, mtime=0))


def tiny(fake: FakeRegistry, files: Mapping[str, bytes]) -> Layer:
    return fake.add_layer(REPOSITORY, files)


def image(
    fake: FakeRegistry,
    layers: Sequence[Layer],
    history: Sequence[Mapping[str, Any]] = (),
    *,
    tag: str = "1.0",
    index: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> str:
    """The reference of an image by tag."""
    made = fake.add_image(
        REPOSITORY, layers, history=history, annotations=annotations, tag="" if index else tag
    )
    if index:
        fake.add_index(REPOSITORY, [made], tag=tag)
    return fake.reference(REPOSITORY, tag=tag)


def blobs_asked_for(fake: FakeRegistry, layer: Layer) -> int:
    return fake.count(f"/blobs/{layer['digest']}")
