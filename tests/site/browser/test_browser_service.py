"""The browser that the tests of the site stand on tells what a page does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services import browser as browser_service
from services.browser import Browser

_SCRIPTS = Path(__file__).parent / "pages.mjs"


def test_what_a_page_does_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><title>t</title><img src='http://elsewhere.invalid/pixel.png' alt=''>"
        "<script>alert('hello'); undefined_name;</script>"
    )
    visit = browser.run(_SCRIPTS, "title", {"url": page.as_uri()})
    assert visit.value == "t"
    assert visit.elsewhere == ("http://elsewhere.invalid/pixel.png",)
    assert visit.dialogs == ("hello",)
    # Which of the two errors comes first is the browser's to choose.
    assert any("undefined_name" in error for error in visit.errors)


def test_a_script_that_fails_says_why(browser: Browser, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"pages\.mjs, title: .*ERR_FILE_NOT_FOUND"):
        browser.run(_SCRIPTS, "title", {"url": (tmp_path / "missing.html").as_uri()})


def test_the_lock_file_names_hashes_and_no_registry() -> None:
    folder = Path(browser_service.__file__).parent / "node"
    lock = json.loads((folder / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
