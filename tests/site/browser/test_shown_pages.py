"""Every kind of page, as its readers meet it: light and dark, on a phone, without script, without a mouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from built_site import BuiltSite, Reader
from services.browser import Browser

RESULTS = ("scored", "record", "model", "models", "comparison")
PAGES = ("home", "catalog", "table", "harness", "task", "browse", "prose", "search", *RESULTS)
FOUND = [["type", "math"], ["tick", "Endpoint type", "chat"], ["wait"]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", PAGES)
def test_nothing_serious_for_accessibility(
    catalog_site: BuiltSite, read: Reader, kind: str, dark: bool
) -> None:
    seen = read("axe", {"url": catalog_site.url(catalog_site.page_of(kind))}, dark=dark).value
    assert seen["theme"] == ("dark" if dark else "light")
    assert seen["rules"] > 10
    assert seen["violations"] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_serious_while_searching(
    catalog_site: BuiltSite, read: Reader, width: int, dark: bool
) -> None:
    steps = FOUND if width > 360 else [["unfold"], *FOUND]
    seen = read("axe", {"url": catalog_site.url("browse"), "steps": steps}, dark=dark, width=width).value
    assert seen["rules"] > 10
    assert seen["violations"] == []


def test_a_phone_scrolls_no_page_sideways(catalog_site: BuiltSite, read: Reader) -> None:
    urls = [catalog_site.url(catalog_site.page_of(kind)) for kind in PAGES]
    seen = read("overflow", {"urls": urls}, width=360).value
    assert dict(zip(PAGES, seen, strict=True)) == {kind: [] for kind in PAGES}


def test_a_phone_scrolls_no_search_sideways(catalog_site: BuiltSite, read: Reader) -> None:
    given = {"urls": [catalog_site.url("browse")], "steps": [["unfold"], *FOUND]}
    assert read("overflow", given, width=360).value == [[]]


def test_without_script_the_browse_page_leads_to_all_tasks(catalog_site: BuiltSite, read: Reader) -> None:
    seen = read("still", {"url": catalog_site.url("browse")}, javascript=False).value
    assert "Searching needs JavaScript" in seen["text"]
    assert "The search didn't start" not in seen["text"]
    assert seen["controls"] == []
    for harness in catalog_site.catalog.harnesses:
        assert catalog_site.url(f"task_catalog/harnesses/{harness.name}") in seen["links"]
    assert catalog_site.url("task_catalog/benchmarks-table") in seen["links"]


@pytest.mark.parametrize("kind", ["table", "harness", "task"])
def test_without_script_no_button_is_dead(catalog_site: BuiltSite, read: Reader, kind: str) -> None:
    seen = read("still", {"url": catalog_site.url(catalog_site.page_of(kind))}, javascript=False).value
    assert seen["controls"] == []
    assert seen["text"]


def test_without_its_data_the_browse_page_says_where_the_tasks_are(
    catalog_site: BuiltSite, browser: Browser, tmp_path: Path
) -> None:
    page = Path(catalog_site.folder, "browse.html").read_text()
    (tmp_path / "browse.html").write_text(page.replace("evaldock-search.js", "missing.js"))
    (tmp_path / "_static").symlink_to(catalog_site.folder / "_static")
    url = (tmp_path / "browse.html").as_uri()
    visit = browser.run(Path(__file__).parent / "pages.mjs", "still", {"url": url})
    assert "The search didn't start" in visit.value["text"]
    assert "harness-000" in " ".join(visit.value["links"])


@pytest.mark.parametrize("without", [False, True], ids=["clipboard", "fallback"])
def test_copy_buttons_copy_what_they_stand_by(catalog_site: BuiltSite, read: Reader, without: bool) -> None:
    task = catalog_site.catalog.harnesses[0].tasks[1]
    copied = read("copied", {"url": catalog_site.url(catalog_site.page_of("task")), "without": without}).value
    by_label = {one["label"]: one["text"] for one in copied}
    assert by_label["Copy the task's full name"] == task.id
    assert by_label["Copy the image's digest"] == catalog_site.catalog.harnesses[0].image.digest
    assert by_label["Copy the shell command"].startswith(f"evaldock run {task.id} \\\n")
    assert by_label["Copy the command's template"] == task.command.strip()
    assert {(one["said"], one["focused"]) for one in copied} == {("Copied", True)}


def test_code_in_prose_can_be_copied(catalog_site: BuiltSite, read: Reader) -> None:
    copied = read("copied", {"url": catalog_site.url("using")}).value
    assert "[what we measure](inv:catalog:eval:task#harness.task)" in [one["text"] for one in copied]


def test_a_table_is_narrowed_and_sorted(catalog_site: BuiltSite, read: Reader) -> None:
    harness = catalog_site.catalog.harnesses[0]
    steps = [
        ("narrow", "math"),
        ("sort", "Task"),
        ("sort", "Task"),
        ("narrow", "no such words"),
        ("wait", ""),
    ]
    given = {"url": catalog_site.url(catalog_site.page_of("harness")), "steps": steps}
    narrowed, up, down, none, told = read("table", given).value
    about = [t.name for t in harness.tasks if "math" in f"{t.name} {t.description}"]
    assert narrowed["rows"] == about
    assert narrowed["count"] == f"{len(about)} of {len(harness.tasks)} rows"
    assert (up["rows"], up["sorted"]) == (sorted(about), ["Task ascending"])
    assert (down["rows"], down["sorted"]) == (sorted(about, reverse=True), ["Task descending"])
    assert (none["rows"], told["said"]) == ([], f"0 of {len(harness.tasks)} rows")
