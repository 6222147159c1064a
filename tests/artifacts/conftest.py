from __future__ import annotations

from pathlib import Path

import pytest

from launcher.artifacts.opening import VARIABLE, open_to_publish
from launcher.artifacts.registry import Registry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The one that is used here: a folder that isn't there yet."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "registry"))
    return open_to_publish()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Something to publish."""
    folder = tmp_path / "model"
    (folder / "shards").mkdir(parents=True)
    (folder / "config.json").write_text('{"layers": 2}\n')
    (folder / "shards" / "1.bin").write_bytes(bytes(range(256)) * 40)
    (folder / "shards" / "2.bin").write_bytes(b"\xff" * 5000)
    return folder
