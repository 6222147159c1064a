"""Against real things: images that Docker builds and skopeo pushes to a real registry, read from there.

The container itself says which files it sees.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from catalog.references import ImageRef
from generator.answer import ReadAnswer, Status
from generator.reading import read_image
from image_parts import Layer, Layout, member, tar
from services.engine import Engine
from services.skopeo import Skopeo

X = "opt/metadata/x/framework.yml"
CONTENT = b"framework:\n  name: x\n"
ONE, TWO = "COPY one /opt/metadata/x/framework.yml", "COPY two /opt/metadata/y/framework.yml"
RECIPES = {
    "copied": (ONE, TWO),
    "replaced": (ONE, "COPY two /opt/metadata/x/framework.yml"),
    "removed": (ONE, TWO, "RUN rm -r /opt/metadata/x"),
    "made-by-run": (
        "COPY one /tmp/one",
        "RUN mkdir -p /opt/metadata/x && cp /tmp/one /opt/metadata/x/framework.yml",
    ),
    "directory-replaced": (
        ONE,
        "RUN rm -r /opt/metadata && mkdir -p /opt/metadata/z && cp /bin/sh /opt/metadata/z/sh",
        "COPY two /opt/metadata/z/framework.yml",
    ),
    "directory-linked": (
        ONE,
        "COPY two /srv/meta/y/framework.yml",
        "RUN rm -r /opt/metadata && ln -s ../srv/meta /opt/metadata",
    ),
    "directory-moved": ("COPY one /opt/old/x/framework.yml", "RUN mv /opt/old /opt/metadata"),
    "file-linked": (
        "COPY one /usr/share/one.yml",
        "RUN mkdir -p /opt/metadata/x /opt/metadata/y",
        "RUN ln -s /usr/share/one.yml /opt/metadata/x/framework.yml",
        "RUN ln -s ../../../usr/share/one.yml /opt/metadata/y/framework.yml",
    ),
    "hard-linked": (
        "COPY one /usr/share/one.yml",
        "RUN mkdir -p /opt/metadata/x /opt/metadata/y && cp /usr/share/one.yml /usr/share/two.yml && "
        "ln /usr/share/two.yml /opt/metadata/x/framework.yml && "
        "ln /usr/share/two.yml /opt/metadata/y/framework.yml",
    ),
    "linked-through-links": (
        "COPY one /data/real/x/framework.yml",
        "RUN mkdir /opt && ln -s /data/real /data/link && ln -s /data/link /opt/metadata",
    ),
    "file-in-the-way": (ONE, "RUN rm -r /opt/metadata/x && cp /bin/sh /opt/metadata/x"),
    "back-again": (ONE, "RUN rm -r /opt", "COPY two /opt/metadata/x/framework.yml"),
    "nothing": ("RUN mkdir -p /opt/metadata/x",),
}
SHOW = 'for f in /opt/metadata/*/framework.yml; do [ -f "$f" ] && echo "$f" && cat "$f"; done; true'


@pytest.mark.parametrize("name", RECIPES)
def test_reads_what_the_container_sees(
    docker_engine: Engine, busybox_image: str, registry: str, name: str
) -> None:
    image = f"{registry}/reading/{name}:1"
    context = tar(
        member("Dockerfile", "\n".join((f"FROM {busybox_image}", *RECIPES[name])).encode()),
        member("one", b"one\n"),
        member("two", b"two\n"),
    )
    docker_engine.run("build", "--network=none", "-t", image, "-", stdin=context)
    docker_engine.run("push", image)
    seen = docker_engine.run("run", "--rm", "--network=none", image, "sh", "-c", SHOW)
    for reference in (image, f"docker-daemon:{image}"):
        for complete in (False, True):
            answer = read_image(ImageRef.parse(reference), complete=complete, cache=False)
            shown = "".join(f"{file.path}\n{file.content.decode()}" for file in answer.files)
            assert (shown, answer.verification) == (seen, "digest")
            assert answer.complete


def noise(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two platforms, each with a large base, a large layer with the file in its middle, and a tiny one."""
    made = Layout(tmp_path / "layout")
    base = Layer.gzipped(tar(member("usr/base", noise("base", 9 << 20))))
    tiny = Layer.gzipped(tar(member("opt/metadata/y/framework.yml", b"y")))
    history = [{"created_by": "base"}, {"created_by": "COPY x /opt/metadata"}, {"created_by": "RUN y"}]
    manifests = []
    for platform in ("linux/amd64", "linux/arm64"):
        middle = Layer.gzipped(
            tar(
                member("usr/lib/before", noise(platform, 5 << 20)),
                member(X, CONTENT + platform.encode()),
                member("usr/lib/after", noise(platform, 5 << 20)),
            )
        )
        os, architecture = platform.split("/")
        manifest = made.manifest([base, middle, tiny], platform=platform, history=history)
        manifests.append({**manifest, "platform": {"os": os, "architecture": architecture}})
    made.add(made.index(manifests), "1")
    return made


def check(answer: ReadAnswer) -> None:
    assert answer.status is Status.FOUND
    assert {file.path: file.content for file in answer.files} == {
        f"/{X}": CONTENT + answer.platform.encode(),
        "/opt/metadata/y/framework.yml": b"y",
    }


@pytest.mark.parametrize("form", ["gzip", "zstd", "zstd:chunked"])
def test_layers_in_every_compression_in_a_real_registry(
    layout: Layout, registry: str, skopeo: Skopeo, tmp_path: Path, form: str
) -> None:
    # Into a fresh layout first: skopeo remembers blobs it has pushed, and would use those instead.
    source = f"oci:{layout.root}:1"
    compressed = f"oci:{tmp_path / 'compressed'}:1"
    options = ["--all", "--dest-compress-format", form] if form != "gzip" else ["--all"]
    skopeo("copy", *options, source, compressed)
    name = f"{registry}/reading/compressed:{form.replace(':', '-')}"
    skopeo("copy", "--all", "--dest-tls-verify=false", compressed, f"docker://{name}")
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}"))
    for platform in ("linux/amd64", "linux/arm64"):
        answer = read_image(ImageRef.parse(name), platform=platform, cache=False)
        check(answer)
        if form == "zstd:chunked":
            # Seekable layers cost next to nothing, and then none is left unread.
            assert (answer.complete, answer.verification) == (True, "toc")
            assert answer.cost.bytes < 300_000
        else:
            assert (answer.route, answer.verification, len(answer.unread)) == ("layers", "digest", 1)
        full = read_image(ImageRef.parse(name), platform=platform, complete=True, verify_full=True)
        check(full)
        assert (full.complete, full.verification) == (True, "digest")
    assert len(raw["manifests"]) == 2


def test_the_same_image_through_every_transport(
    layout: Layout, registry: str, skopeo: Skopeo, tmp_path: Path
) -> None:
    name = f"{registry}/reading/transports:1"
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{layout.root}:1", f"docker://{name}")
    archive = layout.archive(tmp_path / "archive.tar")
    answers = [
        read_image(ImageRef.parse(reference), platform="linux/arm64", complete=True, cache=False)
        for reference in (name, f"oci:{layout.root}:1", f"oci-archive:{archive}:1")
    ]
    for answer in answers:
        check(answer)
    assert len({(answer.digest, answer.manifest_digest, answer.files) for answer in answers}) == 1
