"""The documents that a catalog adds to a Sphinx source folder.

They hold a title and directives, no text from images: that enters while pages are written, as HTML that is
escaped already. So they change only when a harness comes or goes, and no description is ever read as markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from generator.site.addresses import BENCHMARKS, ROOT
from generator.site.output import write_if_changed

MARK = "<!-- evaldock made this file from the catalog. Without this line, evaldock leaves it alone. -->\n"


def sources(harness_pages: Sequence[str]) -> dict[str, str]:
    """The text of each document, by its name."""
    pages = [page.removeprefix(f"{ROOT}/") for page in (BENCHMARKS, *harness_pages)]
    parts = (
        "# Task catalog",
        _directive("eval:numbers"),
        "## Harnesses",
        _directive("eval:harnesses"),
        _directive("toctree", ":hidden:", "", *pages),
    )
    return {
        f"{ROOT}/index": _document(*parts),
        BENCHMARKS: _document("# Benchmarks table", _directive("eval:benchmarks")),
        **dict.fromkeys(harness_pages, _document(_directive("eval:harness-page"))),
    }


def _document(*parts: str) -> str:
    return "\n".join((MARK, *(f"{part}\n" for part in parts))).removesuffix("\n") + "\n"


def _directive(name: str, *lines: str) -> str:
    return "\n".join((f"```{{{name}}}", *lines, "```"))


def bring_up_to_date(folder: Path, wanted: Mapping[str, str]) -> None:
    """Writes what differs, removes what is no longer wanted. A file that lacks the mark is its owner's own
    page and stays, in the place of a generated one too."""
    paths = {folder / f"{name}.md": text for name, text in wanted.items()}
    for path in sorted((folder / ROOT).glob("**/*.md")):
        if path not in paths and _is_ours(path):
            path.unlink()
    for path, text in paths.items():
        if not path.exists() or _is_ours(path):
            write_if_changed(path, text.encode())


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MARK.encode())) == MARK.encode()
