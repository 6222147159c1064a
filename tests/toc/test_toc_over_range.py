"""Tables of contents of layers in a registry, by Range requests."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

from catalog.references import ImageRef
from estargz_builder import estargz
from generator.images.open import open_image
from generator.layers.toc import read_toc
from image_parts import FRAMEWORK, Layer, Layout, member, tar
from services.skopeo import Skopeo

CONTENT = b"framework:\n  name: sums\n"
FILES = [
    *(member(f"usr/lib/{number}", random.Random(number).randbytes(40_000)) for number in range(100)),
    member(FRAMEWORK, CONTENT),
    *(member(f"var/lib/{number}", random.Random(number).randbytes(40_000)) for number in range(20)),
]


def cost_of_reading(reference: str) -> tuple[int, int]:
    """Requests and bytes for the table of contents and the file."""
    with closing(open_image(ImageRef.parse(reference))) as source:
        layer = source.resolve("linux/amd64").layers[0]
        assert layer.size > 4_000_000
        requests, received = source.cost.requests, source.cost.bytes
        found = read_toc(source, layer)
        assert found is not None
        assert found.verified
        wanted = next(one for one in found.members if one.path == FRAMEWORK)
        assert found.content(wanted) == CONTENT
        return source.cost.requests - requests, source.cost.bytes - received


def test_zstd_chunked(tmp_path: Path, registry: str, skopeo: Skopeo) -> None:
    layout = Layout(tmp_path / "plain")
    layout.image(Layer.gzipped(tar(*FILES)), tag="1")
    converted = f"oci:{tmp_path}/converted:1"
    skopeo("copy", "--dest-compress-format", "zstd:chunked", f"oci:{layout.root}:1", converted)
    name = f"{registry}/evaldock-test/chunked:1"
    skopeo("copy", "--dest-tls-verify=false", converted, f"docker://{name}")
    requests, received = cost_of_reading(name)
    assert requests == 2
    assert received < 60_000


def test_estargz(tmp_path: Path, registry: str, skopeo: Skopeo) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image(estargz(*FILES), tag="1")
    name = f"{registry}/evaldock-test/estargz:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout.root}:1", f"docker://{name}")
    requests, received = cost_of_reading(name)
    assert requests == 2
    assert received < 60_000
