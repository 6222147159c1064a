"""Whatever an image says of itself stays text on the pages that show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from built_site import BuiltSite, Reader
from hostile import TEXTS
from services.browser import Browser

KINDS = ("home", "catalog", "table", "harness", "browse")
SCRIPTS = Path(__file__).with_name("pages.mjs")


@pytest.fixture(scope="module")
def allowed(request: pytest.FixtureRequest) -> list[str]:
    """Names of the elements that the pages of a harmless catalog are made of."""
    catalog_site, browser = request.getfixturevalue("catalog_site"), request.getfixturevalue("browser")
    urls = [catalog_site.url(catalog_site.page_of(kind)) for kind in (*KINDS, "task")]
    stale = catalog_site.url(f"task_catalog/harnesses/{catalog_site.catalog.harnesses[-1].name}")
    names: list[str] = browser.run(SCRIPTS, "elements", {"urls": [*urls, stale]}).value
    return names


def test_pages_of_the_catalog_show_it_as_text(
    hostile_site: BuiltSite, read: Reader, allowed: list[str]
) -> None:
    urls = [hostile_site.url(hostile_site.page_of(kind)) for kind in KINDS]
    for kind, seen in zip(KINDS, read("injected", {"urls": urls, "allowed": allowed}).value, strict=True):
        assert (kind, seen["found"]) == (kind, [])
        assert "alert('script')" in seen["text"]
        assert "1337" not in seen["text"]  # 7 * 191, had a template been rendered


def test_tasks_show_their_descriptions_as_text(
    hostile_site: BuiltSite, read: Reader, allowed: list[str]
) -> None:
    urls = [hostile_site.url(f"task_catalog/tasks/hostile/{name}") for name in TEXTS]
    for name, seen in zip(TEXTS, read("injected", {"urls": urls, "allowed": allowed}).value, strict=True):
        assert (name, seen["found"]) == (name, [])
        assert "1337" not in seen["text"]
        words = [word for word in TEXTS[name].split() if word.isascii() and word.isprintable()]
        assert [word for word in words[:50] if word not in seen["text"]] == []


@pytest.mark.parametrize(
    "words", ["<script>alert('script')", "img onerror", "javascript:alert", "{{ 7 * 191 }}", "🧪", "wwwww"]
)
def test_searching_for_it_shows_it_as_text(
    hostile_site: BuiltSite, read: Reader, allowed: list[str], words: str
) -> None:
    given = {
        "urls": [hostile_site.url("browse")],
        "allowed": [*allowed, "mark"],
        "steps": [["type", words], ["wait"]],
    }
    [seen] = read("injected", given).value
    assert seen["found"] == []
    assert "No task fits" not in seen["text"]


def test_the_search_for_injections_finds_them(browser: Browser, allowed: list[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for name in ("script", "code_end", "attribute", "image", "frame", "link", "myst_directive"):
        page.write_text(f'<div class="bd-article" title="{TEXTS[name]}">{TEXTS[name]}</div>')
        visit = browser.run(SCRIPTS, "injected", {"urls": [page.as_uri()], "allowed": allowed})
        assert visit.value[0]["found"], name
        assert visit.dialogs or visit.elsewhere or name == "link"


def test_it_makes_no_page_scroll_sideways(hostile_site: BuiltSite, read: Reader) -> None:
    names = [hostile_site.page_of(kind) for kind in KINDS]
    names += [f"task_catalog/tasks/hostile/{name}" for name in TEXTS]
    seen = read("overflow", {"urls": [hostile_site.url(name) for name in names]}, width=360).value
    assert dict(zip(names, seen, strict=True)) == {name: [] for name in names}


@pytest.mark.parametrize("kind", ["home", "harness", "browse"])
def test_it_stays_usable(hostile_site: BuiltSite, read: Reader, kind: str) -> None:
    seen = read("axe", {"url": hostile_site.url(hostile_site.page_of(kind))}).value
    assert seen["rules"] > 10
    assert seen["violations"] == []
