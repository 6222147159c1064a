"""A registry in a bucket, on an emulator of S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from artifacts.publishers import lost, publish_at_once
from launcher.artifacts import open_registry, resolve
from launcher.artifacts.opening import VARIABLE, open_to_publish
from launcher.artifacts.versions import fetch


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    name = f"bucket-{uuid4().hex}"
    # A file system that is kept would ask the server of the test before.
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(name)
    monkeypatch.setenv(VARIABLE, f"s3://{name}/models")
    yield f"s3://{name}/models"
    server.stop()


def test_publishing_and_fetching(bucket: str, model: Path, tmp_path: Path) -> None:
    version = open_to_publish().put("llama", model, aliases=["best"])
    assert resolve("llama:best") == f"{bucket}/llama/v1"
    fetch(open_registry(), version, tmp_path / "got")
    assert (tmp_path / "got" / "shards" / "1.bin").read_bytes() == (model / "shards" / "1.bin").read_bytes()


def test_processes_that_publish_at_once_lose_nothing(bucket: str, tmp_path: Path) -> None:
    made = publish_at_once(tmp_path, processes=3, each=4)
    assert sorted(made) == sorted(f"llama:v{number}" for number in range(1, 13))
    assert lost(open_registry(), made) == []
