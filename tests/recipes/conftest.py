"""What the tests of recipes share: an environment cache, a project to run recipes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.shared import Shared

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Shared) -> Path:
    """A database of the test's own; environments are kept for the whole run of tests."""
    monkeypatch.setenv("EVALDOCK_CACHE", str(shared.folder / "environments"))
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("EVALDOCK_RETRY_PAUSE", "0.1")
    return tmp_path / "state"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the working folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\nname = 'project'\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def recipe(project: Path) -> Write:
    """Writes `NAME.py` with the given lines of metadata and body."""

    def write(name: str, *metadata: str, body: str = "") -> Path:
        path = project / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        block = ["# /// script", *(f"# {line}".rstrip() for line in metadata), "# ///"]
        path.write_text("\n".join([*block, body, ""]))
        return path

    return write


@pytest.fixture
def profiles(project: Path) -> Callable[[str], object]:
    """Writes the project's env.toml."""
    return (project / "env.toml").write_text
