"""Harnesses are distributions of their own, not installed with the project: processes find them by path."""

from __future__ import annotations

from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "catalog" / "harnesses" / "quickcheck" / "src"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SOURCES), prepend=":")
