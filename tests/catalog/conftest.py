"""A catalog to work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthetic import make_catalog


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """That verifies, with an entry that is stale."""
    return make_catalog(tmp_path / "catalog", harnesses=6, tasks=60, stale=1)
