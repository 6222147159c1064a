"""Two sites, built once, and a reader who insists that their pages do nothing behind his back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from built_site import BuiltSite, Reader, build_site
from hostile import make_hostile_catalog
from measured import publish_some
from services.browser import Browser, Visit
from synthetic import make_catalog


@pytest.fixture(scope="session")
def catalog_site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """Of 130 tasks in four harnesses, the last of them stale, with results of the first task."""
    folder = tmp_path_factory.mktemp("site")
    catalog = make_catalog(folder / "catalog", harnesses=4, tasks=130, stale=1)
    publish_some(catalog)
    return build_site(catalog, folder)


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    folder = tmp_path_factory.mktemp("hostile")
    return build_site(make_hostile_catalog(folder / "catalog"), folder)


@pytest.fixture
def read(browser: Browser) -> Reader:
    """Calls a function of pages.mjs: no request elsewhere, no dialog, no error on the console."""

    def call(name: str, given: dict[str, Any], **options: Any) -> Visit:
        visit = browser.run(Path(__file__).with_name("pages.mjs"), name, given, **options)
        assert (visit.elsewhere, visit.dialogs, visit.errors) == ((), (), ())
        return visit

    return call
