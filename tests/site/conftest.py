"""One built site for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog import store
from catalog.models import Catalog
from site_builds import Built, sphinx_build
from synthetic import make_catalog


@pytest.fixture(scope="session")
def shown_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalog(tmp_path_factory.mktemp("shown") / "catalog", harnesses=5, tasks=60, stale=1)


@pytest.fixture(scope="session")
def shown(shown_root: Path) -> Catalog:
    return store.load(shown_root)


@pytest.fixture(scope="session")
def site(shown_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built strictly (`-W -n`) from the source that evaldock brings along. Nobody may change it."""
    return sphinx_build(tmp_path_factory.mktemp("site"), shown_root)
