"""What the tests of profiles share: a project with an env.toml, which is the working folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.shared import Shared

Write = Callable[[str], Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Shared) -> Write:
    """Writes the env.toml of a new project. Runs have a database of their own, and share environments."""
    monkeypatch.setenv("EVALDOCK_CACHE", str(shared.folder / "environments"))
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("EVALDOCK_RETRY_PAUSE", "0.1")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)

    def write(text: str) -> Path:
        (folder / "env.toml").write_text(text)
        return folder

    return write
