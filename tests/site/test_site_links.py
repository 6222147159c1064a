"""Nothing on a built site leads nowhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest

from site_builds import Built, Page

# Pages that a script fills name places that only exist once it ran.
MADE_BY_SCRIPT = re.compile(r"^(?:q|harness|endpoint|capability|architecture|sort|page)=")


@pytest.fixture(scope="session")
def pages(site: Built) -> dict[str, Page]:
    return {
        name: Page.of(path.read_text(encoding="utf-8"))
        for name, path in site.files().items()
        if name.endswith(".html") and not name.startswith("_static/")
    }


def test_every_link_inside_the_site_leads_to_something(site: Built, pages: dict[str, Page]) -> None:
    files = site.files()
    broken = []
    for name, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https"), link
                continue
            target = resolved(name, unquote(parts.path))
            fragment = unquote(parts.fragment)
            if target not in files:
                broken.append(f"{name}: {link}")
            elif fragment and not MADE_BY_SCRIPT.match(fragment) and fragment not in pages[target].ids:
                broken.append(f"{name}: no place {fragment!r} in {target}")
    assert broken == []


def resolved(page: str, link: str) -> str:
    if not link:
        return page
    parts: list[str] = list(PurePosixPath(page).parent.parts)
    for part in PurePosixPath(link).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def test_no_id_stands_twice_on_a_page(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert sorted(set(page.ids)) == sorted(page.ids), name


def test_no_page_loads_anything_from_another_host(site: Built, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert [each for each in page.loaded if urlsplit(each).netloc] == [], name
    for name, path in site.files().items():
        if name.endswith(".css"):
            assert not re.search(r"(?:url\(|@import)\s*[\"']?\s*(?:https?:)?//", path.read_text()), name


def test_links_to_other_hosts_give_them_no_hold_on_the_page(pages: dict[str, Page]) -> None:
    outside = [
        attributes
        for page in pages.values()
        for tag, attributes in page.elements
        if tag == "a" and attributes.get("class") == "ed-outside"
    ]
    assert outside
    assert all("noopener" in attributes["rel"].split() for attributes in outside)
