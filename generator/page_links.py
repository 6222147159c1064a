"""Do the links of a built site lead somewhere? Only what lies in its folder is looked at."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_LINK = re.compile(r'\s(?:href|src)="([^"]*)"')
_ID = re.compile(r'\s(?:id|name)="([^"]*)"')
# What scripts and style sheets bring along links to nothing of ours.
_STATIC = "_static"


@dataclass(frozen=True, slots=True)
class Broken:
    """`page` is relative to the site's folder."""

    page: str
    link: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Page:
    links: tuple[str, ...]
    ids: frozenset[str]


def broken_links(site: Path) -> list[Broken]:
    """By page, each link once."""
    pages = {
        path.relative_to(site).as_posix(): _read(path)
        for path in sorted(site.rglob("*.html"))
        if path.relative_to(site).parts[0] != _STATIC
    }
    return [found for name, page in pages.items() for found in _broken(site, name, page, pages)]


def _read(path: Path) -> _Page:
    tags = " ".join(_TAG.findall(path.read_text(encoding="utf-8", errors="replace")))
    links = (html.unescape(link) for link in _LINK.findall(tags))
    return _Page(tuple(dict.fromkeys(links)), frozenset(html.unescape(each) for each in _ID.findall(tags)))


def _broken(site: Path, name: str, page: _Page, pages: Mapping[str, _Page]) -> Iterator[Broken]:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = _resolved(name, unquote(parts.path))
        if target is None:
            yield Broken(name, link, "leads out of the site")
            continue
        if (site / target).is_dir():
            target = f"{target}/index.html".removeprefix("./")
        fragment = unquote(parts.fragment)
        if target not in pages:
            if not (site / target).is_file():
                yield Broken(name, link, "leads nowhere")
        # With a `=` it is a state that a script reads, not a place.
        elif fragment and "=" not in fragment and fragment not in pages[target].ids:
            yield Broken(name, link, f"there is no place {fragment!r} in {target}")


def _resolved(page: str, path: str) -> str | None:
    if not path:
        return page
    parts = [] if path.startswith("/") else list(PurePosixPath(page).parent.parts)
    for part in PurePosixPath(path.lstrip("/")).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or "."
