"""A second build writes what changed and nothing else; equal catalogs give equal bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import store
from catalog.models import Entry, Task
from site_builds import Built, copied_source, own_source, rewrite, sphinx_build
from synthetic import make_catalog

TASKS = "task_catalog/tasks"
HARNESSES = "task_catalog/harnesses"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all builds of these tests happen: an incremental one is one in the same place."""
    return tmp_path_factory.mktemp("incremental") / "here"


@pytest.fixture(scope="module")
def first_build(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    """A copy of that place as the first build leaves it."""
    built = sphinx_build(folder, make_catalog(folder / "catalog", harnesses=3, tasks=12))
    return shutil.copytree(folder, tmp_path_factory.mktemp("kept") / "kept"), built


@pytest.fixture
def root(folder: Path, first_build: tuple[Path, Built]) -> Path:
    """The built catalog, with everything in its folder as the first build left it, times too."""
    shutil.rmtree(folder)
    shutil.copytree(first_build[0], folder)
    return folder / "catalog"


@pytest.fixture
def built(root: Path, first_build: tuple[Path, Built]) -> Built:
    return first_build[1]


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def with_tasks(entry: Entry, tasks: tuple[Task, ...]) -> Entry:
    return replace(entry, harnesses=(replace(entry.harnesses[0], tasks=tasks),))


def test_two_builds_are_byte_identical(built: Built, root: Path, folder: Path) -> None:
    # Elsewhere, with another order of sets, in parallel, at another time.
    other = sphinx_build(
        folder / "elsewhere",
        shutil.copytree(root, folder / "copy"),
        *("-j", "2"),
        environment={"PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "0", "TZ": "Asia/Tokyo"},
    )
    assert other.bytes_of_all() == built.bytes_of_all()


def test_a_build_without_changes_touches_no_file(built: Built, root: Path, folder: Path) -> None:
    times, sources = built.times(), {path: path.stat().st_mtime_ns for path in built.source.rglob("*.md")}
    again = sphinx_build(folder, root)
    assert "0 added, 0 changed, 0 removed" in again.said
    assert "pages of the catalog: 0 to write, " in again.said
    assert changed(times, again.times()) == set()
    assert {path: path.stat().st_mtime_ns for path in built.source.rglob("*.md")} == sources


def test_a_changed_task_changes_what_shows_it(built: Built, root: Path, folder: Path) -> None:
    first, *others = store.load(root).entries
    tasks = first.harnesses[0].tasks
    rewrite(
        root,
        [with_tasks(first, (tasks[0], replace(tasks[1], description="Another one."), *tasks[2:])), *others],
    )
    times = built.times()
    again = sphinx_build(folder, root)
    page, harness = f"{TASKS}/harness-000/{tasks[1].name}", f"{HARNESSES}/harness-000"
    assert changed(times, again.times()) == {
        *(f"{page}.html", f"{page}.json"),
        *(f"{harness}.html", f"{harness}.json", f"{harness}.csv"),
        *("task_catalog/benchmarks-table.html", "task_catalog/benchmarks-table.json"),
        *("task_catalog/benchmarks-table.csv", "catalog.json", "_static/evaldock-search.js", "browse.html"),
    }
    assert "Another one." in again.text(f"{page}.html")
    assert again.bytes_of_all() == sphinx_build(folder / "anew", root).bytes_of_all()


def test_a_new_image_changes_all_pages_of_its_harness_alone(built: Built, root: Path, folder: Path) -> None:
    first, *others = store.load(root).entries
    assert first.image is not None
    image = replace(first.image, digest=f"sha256:{'5' * 64}", manifest_digest=f"sha256:{'5' * 64}")
    harness = replace(first.harnesses[0], image=image)
    rewrite(root, [replace(first, image=image, harnesses=(harness,)), *others])
    times = built.times()
    again = sphinx_build(folder, root)
    written = {
        name for name in changed(times, again.times()) if name.startswith(TASKS) and name.endswith(".html")
    }
    assert written == {f"{TASKS}/harness-000/{task.name}.html" for task in harness.tasks}


def test_what_is_removed_leaves_no_page_and_no_link(built: Built, root: Path, folder: Path) -> None:
    first, *others = store.load(root).entries
    shorter = with_tasks(first, first.harnesses[0].tasks[1:])
    # mapping.toml still names the last entry: what counts for a site is what the index holds.
    rewrite(root, [shorter, *others[:-1]])
    gone = others[-1].harnesses[0].name
    again = sphinx_build(folder, root, "-D", "evaldock_allow_unverified=1")
    assert not [name for name in again.files() if gone in name]
    assert not (again.output / TASKS / gone).exists()
    assert not (built.source / HARNESSES / f"{gone}.md").exists()
    assert f"{TASKS}/harness-000/{first.harnesses[0].tasks[0].name}.html" not in again.files()
    # In the navigation of pages that nothing else changed, too.
    assert not [
        name for name in again.files() if name.endswith(".html") and f"{gone}.html" in again.text(name)
    ]
    anew = sphinx_build(folder / "anew", root, "-D", "evaldock_allow_unverified=1")
    assert again.bytes_of_all() == anew.bytes_of_all()


def test_a_new_harness_enters_the_navigation_of_all(built: Built, root: Path, folder: Path) -> None:
    make_catalog(root, harnesses=4, tasks=16)
    again = sphinx_build(folder, root)
    for harness in store.load(root).harnesses[:-1]:
        assert 'href="harness-003.html"' in again.text(f"{HARNESSES}/{harness.name}.html")
    assert again.bytes_of_all() == sphinx_build(folder / "anew", root).bytes_of_all()


def test_the_theme_and_its_options_count(built: Built, root: Path, folder: Path) -> None:
    before = built.bytes_of_all()
    again = sphinx_build(folder, root, "-D", "html_title=Another title")
    pages = [name for name in before if name.endswith(".html") and not name.startswith("_static")]
    assert [name for name in pages if "Another title" not in again.text(name)] == []
    assert changed(before, again.bytes_of_all()) >= set(pages)


def test_a_template_of_the_owner_counts(built: Built, root: Path, folder: Path) -> None:
    source = copied_source(folder / "source")
    (source / "own").mkdir()
    (source / "own" / "copyright.html").write_text("<p>Made by us.</p>")
    # As old as a file out of an archive may be: it is the content that counts.
    os.utime(source / "own" / "copyright.html", (1, 1))
    conf = source / "conf.py"
    conf.write_text(f"{conf.read_text()}\ntemplates_path = ['own']\n")
    again = sphinx_build(folder, root)
    (source / "own" / "copyright.html").write_text("<p>Made by others.</p>")
    os.utime(source / "own" / "copyright.html", (1, 1))
    again = sphinx_build(folder, root)
    pages = [name for name in again.files() if name.endswith(".html") and not name.startswith("_static")]
    assert pages
    assert [name for name in pages if "Made by others." not in again.text(name)] == []


def test_a_page_that_was_lost_or_edited_is_written_again(built: Built, root: Path, folder: Path) -> None:
    before = built.bytes_of_all()
    lost, edited = (f"{TASKS}/harness-000/{name}" for name in ("math_00000.html", "code_00001.json"))
    (built.output / lost).unlink()
    (built.output / edited).write_text("{}")
    again = sphinx_build(folder, root)
    assert again.bytes_of_all() == before


def test_leftovers_of_builds_that_nobody_remembers_go(built: Built, root: Path, folder: Path) -> None:
    before = built.bytes_of_all()
    stray = built.output / TASKS / "harness-999" / "old.html"
    stray.parent.mkdir()
    stray.write_text("an old page")
    shutil.rmtree(built.doctrees)
    assert sphinx_build(folder, root).bytes_of_all() == before


def test_prose_follows_the_catalog(root: Path, folder: Path) -> None:
    index = "# Ours\n\nSee {eval:task}`harness-000.math_00000`.\n\n```{toctree}\ntask_catalog/index\n```\n"
    own = "# Never mind\n\nThis page links to nothing of the catalog.\n"
    source = own_source(folder / "ours", {"index.md": index, "other.md": f"---\norphan: true\n---\n{own}"})
    first = sphinx_build(folder / "own", root, source=source)
    times = first.times()
    entry, *others = store.load(root).entries
    rewrite(root, [with_tasks(entry, entry.harnesses[0].tasks[1:]), *others])
    again = sphinx_build(folder / "own", root, source=source, strict=False)
    assert "index.md:3: WARNING: the catalog has no task 'harness-000.math_00000'" in again.said
    assert "math_00000.html" not in again.text("index.html")
    assert "other.html" not in changed(times, again.times())


def test_an_own_page_stays_in_the_place_of_a_generated_one(root: Path, folder: Path) -> None:
    index = "# Ours\n\n```{toctree}\ntask_catalog/index\n```\n"
    own = "# Our own table\n\n```{eval:benchmarks}\n```\n"
    source = own_source(folder / "ours", {"index.md": index})
    (source / "task_catalog").mkdir()
    (source / "task_catalog" / "benchmarks-table.md").write_text(own)
    site = sphinx_build(folder / "own", root, source=source)
    assert (source / "task_catalog" / "benchmarks-table.md").read_text() == own
    assert "<h1>Our own table" in site.text("task_catalog/benchmarks-table.html")
