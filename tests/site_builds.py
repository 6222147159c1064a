"""Real Sphinx builds of small sites, and ways to look at what they wrote."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from catalog import store
from catalog.models import Entry

ROOT = Path(__file__).parent.parent
DEFAULT_SOURCE = ROOT / "generator" / "site" / "default_source"
STRICT = ("-W", "--keep-going", "-n")


@dataclass(frozen=True)
class Built:
    """A build's folders and everything that it said."""

    source: Path
    output: Path
    doctrees: Path
    said: str
    exit_code: int

    def text(self, address: str) -> str:
        return (self.output / address).read_text(encoding="utf-8")

    def files(self) -> dict[str, Path]:
        found = (path for path in self.output.rglob("*") if path.is_file())
        return {path.relative_to(self.output).as_posix(): path for path in found}

    def bytes_of_all(self) -> dict[str, str]:
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self.files().items()}

    def times(self) -> dict[str, int]:
        return {name: path.stat().st_mtime_ns for name, path in self.files().items()}


def sphinx_build(
    folder: Path,
    catalog: Path,
    *options: str,
    source: Path | None = None,
    environment: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Built:
    """Builds into `folder`/output by sphinx-build itself; the same folder again is an incremental build."""
    source = source or copied_source(folder / "source")
    output, doctrees = folder / "output", folder / "doctrees"
    command = [sys.executable, "-m", "sphinx", *(STRICT if strict else ()), "-d", str(doctrees)]
    command += ["-D", f"evaldock_catalog={catalog}", *options, str(source), str(output)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    built = Built(source, output, doctrees, done.stdout + done.stderr, done.returncode)
    if strict:
        assert built.exit_code == 0, built.said
    return built


def copied_source(folder: Path) -> Path:
    """The source that evaldock brings along."""
    for path in DEFAULT_SOURCE.glob("*.*"):
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / path.name
        if not target.exists():
            target.write_bytes(path.read_bytes())
    return folder


def own_source(folder: Path, pages: Mapping[str, str], conf: str = "") -> Path:
    """A project of somebody's own: a page for each name, with the catalog below the first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conf.py").write_text(
        f"project = 'Ours'\nextensions = ['generator.site']\nhtml_theme = 'pydata_sphinx_theme'\n{conf}\n"
    )
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def rewrite(root: Path, entries: Iterable[Entry]) -> None:
    """Replaces what a catalog holds, mapping.toml apart."""
    mapping = (root / "mapping.toml").read_bytes()
    store.write(root, hashlib.sha256(mapping).hexdigest(), list(entries))


@dataclass
class Page(HTMLParser):
    """What a page links to and loads, what can be linked to, and its text."""

    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, text: str) -> Page:
        page = cls()
        page.feed(text)
        page.close()
        return page

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag not in ("a", "code", "span", "strong", "wbr"):
            self.words.append(" ")
        self.elements.append((tag, named))
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag == "form":
            self.links.append(named.get("action", ""))
        elif tag == "link" and named.get("rel") != "canonical":
            self.loaded.append(named["href"])
        elif "src" in named:
            self.loaded.append(named["src"])

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)
