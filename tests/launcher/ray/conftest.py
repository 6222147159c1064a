"""A Ray dashboard whose answers are a test's, and a place that talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_ray import FakeRay
from launched import Place
from launcher.backends import ray_api


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    monkeypatch.setattr(ray_api, "PAUSE", 0.01)
    server = FakeRay()
    server.thread.start()
    yield server
    server.close()


@pytest.fixture
def faked(fake: FakeRay, tmp_path: Path) -> Place:
    root = tmp_path / "shared"
    root.mkdir()
    settings = {"dashboard_url": fake.url, "shared_dir": str(root), "request_timeout": 5.0}
    return Place("ray", remote=str(root), settings=settings)
