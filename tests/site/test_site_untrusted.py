"""Texts and names from images: whatever they hold, pages, scripts and tables show it as text."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

from catalog import store
from catalog.models import Catalog, Entry, MappingEntry
from generator.site.addresses import Addresses
from hostile import TEXTS, make_hostile_catalog
from site_builds import Built, Page, sphinx_build
from synthetic import make_harness

# As bad as names can be: `catalog.names` lets no others in.
HARNESSES = ("_first", "a+b", "con", "Index", "CASE", "Case", "case", "h" * 100)
TASKS = (
    "_first",
    "a+b",
    "nul.txt",
    "index",
    "CASE",
    "Case",
    "case",
    "a..b",
    "t.html",
    "t",
    "T.json",
    "t" * 150,
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Catalog]:
    folder = tmp_path_factory.mktemp("hostile")
    root = make_hostile_catalog(folder / "catalog")
    return sphinx_build(folder, root), store.load(root)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Catalog]:
    """A catalog whose harnesses and tasks have the worst of names."""
    folder = tmp_path_factory.mktemp("named")
    root = folder / "catalog"
    root.mkdir()
    entries = []
    for at, name in enumerate(HARNESSES):
        harness = make_harness(at, 1)
        tasks = tuple(replace(harness.tasks[0], harness=name, name=each) for each in TASKS)
        harness = replace(harness, name=name, full_name=None, entry=f"entry-{at}", tasks=tasks)
        mapping = MappingEntry(key=f"entry-{at}", container=harness.image.container)
        entries.append(Entry(mapping=mapping, image=harness.image, harnesses=(harness,)))
    text = "".join(f'[{e.mapping.key}]\ncontainer = "{e.mapping.container}"\n' for e in entries).encode()
    (root / "mapping.toml").write_bytes(text)
    store.write(root, hashlib.sha256(text).hexdigest(), entries)
    return sphinx_build(folder, root), store.load(root)


def shapes(site: Built) -> set[tuple[str, str]]:
    """Every element with each of its attributes, on all pages of a site."""
    pages = [name for name in site.files() if name.endswith(".html") and not name.startswith("_static")]
    found = [element for name in pages for element in Page.of(site.text(name)).elements]
    return {(tag, attribute) for tag, attributes in found for attribute in attributes or {"": ""}}


def test_texts_bring_no_element_and_no_attribute_onto_a_page(
    hostile: tuple[Built, Catalog], named: tuple[Built, Catalog], site: Built
) -> None:
    usual = shapes(site)
    assert shapes(hostile[0]) - usual == set()
    assert shapes(named[0]) - usual == set()


def test_texts_bring_no_script_onto_a_page(
    hostile: tuple[Built, Catalog], named: tuple[Built, Catalog]
) -> None:
    for site, _ in (hostile, named):
        for name in (name for name in site.files() if name.endswith(".html")):
            page = Page.of(site.text(name))
            scripts = [
                text for text in site.text(name).split("<script")[1:] if "alert(" in text.split("</script")[0]
            ]
            assert scripts == [], name
            links = [
                link
                for link in page.links + page.loaded
                if urlsplit(link).scheme not in ("", "http", "https")
            ]
            assert links == [], name


def test_each_text_stands_on_its_page_as_it_was_written(hostile: tuple[Built, Catalog]) -> None:
    site, catalog = hostile
    addresses = Addresses.of(catalog)
    for task in catalog.tasks:
        if task.name in ("long_text", "controls"):
            continue
        page = Page.of(site.text(f"{addresses.task(task)}.html"))
        assert " ".join(TEXTS[task.name].split()) in page.text, task.name


def test_a_text_of_100_kb_is_cut_and_says_so(hostile: tuple[Built, Catalog]) -> None:
    site, catalog = hostile
    task = next(task for task in catalog.tasks if task.name == "long_text")
    address = Addresses.of(catalog).task(task)
    assert len(task.description) > 100_000
    assert "more characters in the JSON of this page]" in Page.of(site.text(f"{address}.html")).text
    assert json.loads(site.text(f"{address}.json"))["description"] == task.description


def test_no_control_character_reaches_a_page(hostile: tuple[Built, Catalog]) -> None:
    site, _ = hostile
    for name in site.files():
        if name.endswith((".html", ".csv", "llms.txt")) and not name.startswith("_static"):
            assert not set(site.text(name)) & set("\x00\x07\x1b\u202e\u202c"), name


def test_no_text_of_an_image_enters_a_source_document(hostile: tuple[Built, Catalog]) -> None:
    site, _ = hostile
    documents = list((site.source / "task_catalog").rglob("*.md"))
    assert documents
    assert [path for path in documents if "alert" in path.read_text() or "jinja" in path.read_text()] == []


def test_the_search_data_is_one_harmless_assignment(hostile: tuple[Built, Catalog]) -> None:
    site, catalog = hostile
    script = site.text("_static/evaldock-search.js")
    assert script.startswith("window.EVALDOCK_SEARCH = ")
    assert "<" not in script
    assert not set("\u2028\u2029") & set(script)
    data = json.loads(script.removeprefix("window.EVALDOCK_SEARCH = ").removesuffix(";\n"))
    assert [row[0] for row in data["tasks"]] == [task.name for task in catalog.tasks]
    command = site.text("task_catalog/harnesses/hostile.command.js") if catalog.harnesses[0].command else ""
    assert "<" not in command


def test_pages_stay_where_they_belong(named: tuple[Built, Catalog]) -> None:
    site, catalog = named
    addresses = Addresses.of(catalog)
    pages = {*addresses.tasks.values(), *addresses.harnesses.values()}
    assert len({page.casefold() for page in pages}) == len(catalog.tasks) + len(catalog.harnesses)
    for page in pages:
        assert (site.output / f"{page}.html").resolve().is_relative_to(site.output.resolve() / "task_catalog")
        assert (site.output / f"{page}.html").is_file()
        assert page.isascii()
    outside = {path.name for path in site.output.parent.iterdir()}
    assert outside == {"catalog", "source", "output", "doctrees"}


def test_links_between_oddly_named_pages_work(named: tuple[Built, Catalog]) -> None:
    site, catalog = named
    page = Page.of(site.text("task_catalog/benchmarks-table.html"))
    targets = [
        site.output / "task_catalog" / unquote(link) for link in page.links if link.startswith("tasks/")
    ]
    assert len(targets) == len(catalog.tasks)
    assert [target for target in targets if not target.is_file()] == []


def test_the_inventory_leads_to_oddly_named_pages(named: tuple[Built, Catalog]) -> None:
    site, catalog = named
    inventory = dict(InventoryFile.loads((site.output / "objects.inv").read_bytes(), uri="").data)
    known = {"eval:task": {task.id for task in catalog.tasks}, "eval:harness": set(HARNESSES)}
    for kind, names in known.items():
        assert set(inventory[kind]) == names
        assert all((site.output / unquote(item.uri)).is_file() for item in inventory[kind].values())


def test_spreadsheets_see_no_formula(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    root.mkdir()
    harness = make_harness(0, 6)
    texts = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "harmless = fine")
    tasks = tuple(replace(t, description=text) for t, text in zip(harness.tasks, texts, strict=True))
    mapping = MappingEntry(key=harness.entry, container=harness.image.container)
    text = f'["{harness.entry}"]\ncontainer = "{mapping.container}"\n'.encode()
    (root / "mapping.toml").write_bytes(text)
    entry = Entry(mapping=mapping, image=harness.image, harnesses=(replace(harness, tasks=tasks),))
    store.write(root, hashlib.sha256(text).hexdigest(), [entry])
    site = sphinx_build(tmp_path, root)
    table = csv.DictReader(io.StringIO(site.text("task_catalog/benchmarks-table.csv"), newline=""))
    shown = [row["description"] for row in table]
    assert shown == ["'=1+1", "'+cmd|' /C calc'!A0", "'-2+3", "'@SUM(1)", "'=1", "harmless = fine"]


def test_only_web_addresses_become_links(hostile: tuple[Built, Catalog]) -> None:
    site, _ = hostile
    page = Page.of(site.text("task_catalog/harnesses/hostile.html"))
    assert "javascript:alert('url') (not a web address)" in page.text
    assert {urlsplit(link).scheme for link in page.links} <= {"", "http", "https"}
