"""`docker-daemon:` images, read from a real engine; a fake one stands in for faults and newer formats."""

from __future__ import annotations

import gc
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest

from catalog.errors import NotFound, Refused, Unreachable, UsageError
from catalog.references import Digest, ImageRef
from generator.images import spool
from generator.images.open import open_image
from generator.images.source import Descriptor, ImageSource
from image_parts import FRAMEWORK, Layer, Layout, encoded, member, sha256, tar
from services.engine import Engine

LAYER = tar(member(FRAMEWORK, b"framework: {}\n"))
CONFIG = encoded(
    {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "rootfs": {"type": "layers", "diff_ids": [sha256(LAYER)]},
    }
)


class Open(Protocol):
    def __call__(self, reference: str) -> ImageSource: ...


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def one(reference: str) -> ImageSource:
            return stack.enter_context(closing(open_image(ImageRef.parse(f"docker-daemon:{reference}"))))

        yield one


@pytest.fixture
def built(docker_engine: Engine, busybox_image: str) -> str:
    """An image with two equal layers, for which `docker save` writes one of them as a link."""
    recipe = f"""
        FROM {busybox_image}
        COPY framework.yml /{FRAMEWORK}
        COPY framework.yml /x
        COPY framework.yml /x
        """
    context = tar(member("Dockerfile", recipe.encode()), member("framework.yml", b"framework: {}\n"))
    docker_engine.run("build", "--network=none", "-t", "evaldock-test/daemon:1", "-", stdin=context)
    return "evaldock-test/daemon:1"


def test_an_image_that_an_engine_built(docker_engine: Engine, built: str, opened: Open) -> None:
    inspected = json.loads(docker_engine.run("image", "inspect", built))[0]
    source = opened(built)
    assert str(source.head()) == inspected["Id"]
    assert source.cost.bytes == 0
    image = source.resolve("linux/amd64")
    assert str(image.digest) == str(image.manifest_digest) == sha256(image.raw) == inspected["Id"]
    assert [str(layer.digest) for layer in image.layers] == inspected["RootFS"]["Layers"]
    assert image.layers[-1].digest == image.layers[-2].digest
    for layer in image.layers:
        assert sha256(source.blob(layer)) == str(layer.digest)
    assert b"framework: {}\n" in source.read_range(image.layers[1], 0, image.layers[1].size)
    assert json.loads(source.blob(image.config))["architecture"] == "amd64"
    assert source.referrers(image.digest, "") == ()
    assert source.cost.requests == 3
    assert source.cost.bytes > image.layers[0].size
    with pytest.raises(NotFound, match="no image for linux/arm64"):
        source.resolve("linux/arm64")


def test_an_image_by_its_id(docker_engine: Engine, built: str, opened: Open) -> None:
    digest = docker_engine.run("image", "inspect", "-f", "{{.Id}}", built).strip()
    assert str(opened(digest).head()) == digest
    pinned = ImageRef.parse(f"docker-daemon:{built}").pinned(Digest.parse(digest))
    with closing(open_image(pinned)) as source:
        assert str(source.resolve(None).digest) == digest


def test_an_image_the_engine_does_not_have(docker_engine: Engine, opened: Open) -> None:
    with pytest.raises(NotFound) as missing:
        opened("evaldock-test/none:1").resolve(None)
    assert str(missing.value) == (
        "docker-daemon:evaldock-test/none:1: the Docker Engine has no such image\n"
        "  `docker image ls` lists what it has"
    )


# The SDK leaves its socket open when connecting fails.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "unix:///nowhere/docker.sock", "nonsense://"])
def test_no_engine(monkeypatch: pytest.MonkeyPatch, opened: Open, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(Unreachable) as unreachable:
        opened("name:1").head()
    assert unreachable.value.message.startswith("the Docker Engine doesn't answer: ")
    assert unreachable.value.hint == "is it running, and may you use it? DOCKER_HOST says where it is"
    del unreachable
    gc.collect()


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch, opened: Open) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(UsageError) as missing:
        opened("name:1").head()
    assert str(missing.value) == (
        "reading docker-daemon: images needs the docker SDK\n  pip install 'evaldock[docker]'"
    )


class FakeEngine:
    """Speaks as much of the engine's interface as reading an image takes."""

    def __init__(self) -> None:
        self.inspected: dict[str, Any] = {"Id": sha256(CONFIG), "Size": 1}
        self.saved = b""
        self.announced: int | None = None
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith("/version"):
                    self.answer(json.dumps({"ApiVersion": "1.41"}).encode())
                elif self.path.endswith("/json"):
                    self.answer(json.dumps(engine.inspected).encode())
                else:
                    self.answer(engine.saved, engine.announced)

            def answer(self, body: bytes, length: int | None = None) -> None:
                self.send_response(200 if body else 500)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def save(self, *, config: bytes = CONFIG, layers: list[str] | None = None) -> None:
        listed = [{"Config": "config.json", "Layers": ["a/layer.tar"] if layers is None else layers}]
        self.saved = tar(
            member("config.json", config),
            member("manifest.json", encoded(listed)),
            member("a/layer.tar", LAYER),
        )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{fake.server.server_port}")
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def test_the_archive_is_fetched_once(engine: FakeEngine, opened: Open) -> None:
    engine.save()
    source = opened("name:1")
    image = source.resolve(None)
    assert image.platform == "linux/arm64"
    assert source.resolve("linux/arm64/v8") == image
    assert source.blob(image.layers[0]) == LAYER
    assert source.cost.bytes == len(engine.saved)
    with pytest.raises(NotFound, match="no layer sha256"):
        source.read_range(Descriptor(media_type="", digest=Digest.of(b"x"), size=1), 0, 1)
    with pytest.raises(NotFound, match="a local engine keeps none"):
        source.manifest(image.digest)


def test_an_engine_that_keeps_manifests(engine: FakeEngine, opened: Open, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    layer = Layer.gzipped(LAYER)
    digest = layout.image(layer, tag="1")
    listed = encoded([{"Config": "index.json", "Layers": []}])
    (layout.root / "manifest.json").write_bytes(listed)
    engine.inspected["Id"] = digest
    engine.saved = layout.archive(tmp_path / "saved.tar").read_bytes()
    source = opened("name:1")
    image = source.resolve(None)
    assert str(image.digest) == digest
    assert source.blob(image.layers[0]) == layer.blob


def test_a_layer_that_is_not_its_diff_id(engine: FakeEngine, opened: Open) -> None:
    config = CONFIG.replace(sha256(LAYER).encode(), sha256(b"else").encode())
    engine.inspected["Id"] = sha256(config)
    engine.save(config=config)
    source = opened("name:1")
    with pytest.raises(Refused, match="doesn't have that digest"):
        source.blob(source.resolve(None).layers[0])


@pytest.mark.parametrize(
    ("config", "layers", "message"),
    [
        (b"{}", None, "no image sha256"),
        (CONFIG, [], "the config doesn't name the 0 layers there are"),
        (CONFIG, ["../../etc/passwd"], "no such file in the archive|no .*passwd in the archive"),
    ],
)
def test_an_archive_that_contradicts_the_engine(
    engine: FakeEngine, opened: Open, config: bytes, layers: list[str] | None, message: str
) -> None:
    engine.save(config=config, layers=layers)
    with pytest.raises((Refused, NotFound), match=message):
        opened("name:1").resolve(None)


def test_an_engine_that_dies_while_it_saves(engine: FakeEngine, opened: Open) -> None:
    engine.save()
    engine.announced = len(engine.saved) + 1000
    with pytest.raises(Unreachable, match="the Docker Engine doesn't answer"):
        opened("name:1").resolve(None)


def test_an_engine_that_breaks_off_without_saying_so(engine: FakeEngine, opened: Open) -> None:
    engine.save()
    engine.saved = engine.saved[:3000]
    with pytest.raises((Refused, NotFound)):
        opened("name:1").resolve(None)


def test_an_engine_that_fails(engine: FakeEngine, opened: Open) -> None:
    with pytest.raises(Refused, match="the Docker Engine refuses: "):
        opened("name:1").resolve(None)


def test_an_image_too_large_for_the_disk(engine: FakeEngine, opened: Open) -> None:
    engine.save()
    engine.inspected["Size"] = 1 << 60
    source = opened("name:1")
    with pytest.raises(Refused, match=r"a temporary copy takes \d+ MiB") as refused:
        source.resolve(None)
    assert source.cost.bytes == 0
    assert "TMPDIR" in (refused.value.hint or "")


def test_an_image_that_grows_while_it_comes(
    engine: FakeEngine, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.save()
    monkeypatch.setattr(spool, "_CHECK_EVERY", 1)
    monkeypatch.setattr(spool, "_RESERVE", 0)
    engine.inspected["Size"] = 0
    assert opened("name:1").resolve(None).platform == "linux/arm64"
    monkeypatch.setattr(spool, "_RESERVE", 1 << 60)
    engine.inspected["Size"] = -(1 << 61)
    with pytest.raises(Refused, match="a temporary copy takes"):
        opened("name:1").resolve(None)
