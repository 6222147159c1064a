"""What stands on the pages of a catalog, and in the data beside them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from catalog import store
from catalog.models import Catalog, Entry, EntryState, Harness, MappingEntry, Task
from generator.site.addresses import BENCHMARKS, Addresses
from generator.site.exports import catalog_data
from generator.site.pages import Site
from generator.site.settings import SCHEMA, Settings
from site_builds import Built, Page, own_source, sphinx_build
from synthetic import make_catalog


def page_of(site: Built, catalog: Catalog, task: Task) -> Page:
    return Page.of(site.text(f"{Addresses.of(catalog).task(task)}.html"))


def test_each_task_has_a_page_that_says_all_there_is_to_know(site: Built, shown: Catalog) -> None:
    for harness in shown.harnesses:
        for task in harness.tasks:
            text = page_of(site, shown, task).text
            expected = [task.id, task.title or task.name, harness.title, harness.image.container]
            expected += [harness.image.digest, harness.image.manifest_digest, f"evaldock run {task.id}"]
            expected += [*task.endpoint_types, *task.capabilities, *harness.image.architectures]
            expected += [f"gh workflow run evaluate.yml \\ -f task={task.id}"]
            expected += ["Open the workflow evaluate.yml among the Actions", f"Field Value task {task.id}"]
            expected += [
                part for source in harness.sources for part in (source.path, source.layer, source.sha256)
            ]
            expected += [task.description, f"config.params.temperature {task.params['temperature']}"]
            assert [each for each in expected if each not in text] == []


def test_missing_metadata_is_called_unknown(site: Built, shown: Catalog) -> None:
    silent = [(h, t) for h in shown.harnesses for t in h.tasks if not t.endpoint_types or not t.description]
    assert silent
    for _, task in silent:
        text = page_of(site, shown, task).text
        assert ("Endpoint types unknown" in text) == (not task.endpoint_types)
        assert ("Description: unknown" in text) == (not task.description)


def test_the_defaults_are_a_table_that_tells_null_from_text(site: Built, shown: Catalog) -> None:
    text = page_of(site, shown, shown.harnesses[0].tasks[0]).text
    assert "config.params.extra.prompt not set" in text
    assert "config.params.extra.judge.parallelism 4" in text
    assert "target.api_endpoint.stream false" in text


def test_a_command_is_shown_rendered_for_the_example_endpoint(site: Built, shown: Catalog) -> None:
    task = next(t for t in shown.tasks if t.endpoint_types[:1] == ("embedding",))
    text = page_of(site, shown, task).text
    assert "for an endpoint of type embedding at https://endpoint.example/v1/embeddings" in text
    assert "export API_KEY=$API_KEY && synthetic-eval --url https://endpoint.example/v1/embeddings" in text
    assert "{{" not in text


def test_the_command_of_a_harness_stands_once(site: Built, shown: Catalog) -> None:
    harness = shown.harnesses[0]
    folder = "task_catalog/harnesses"
    holders = [
        name for name in site.files() if name.endswith(".html") and "{{target.api_endpoint" in site.text(name)
    ]
    assert sorted(holders) == sorted(f"{folder}/{each.name}.html" for each in shown.harnesses)
    assert site.text(f"{folder}/{harness.name}.html").count("{{target.api_endpoint.url}}") == 1
    # … and is read on the page of each task by way of one script.
    assert "{{target.api_endpoint.url}}" in site.text(f"{folder}/{harness.name}.command.js")
    loaded = page_of(site, shown, harness.tasks[0]).loaded
    assert f"../../harnesses/{harness.name}.command.js" in loaded


def test_a_stale_harness_says_so_everywhere(site: Built, shown: Catalog) -> None:
    stale = next(harness for harness in shown.harnesses if harness.state == "stale")
    for text in (
        Page.of(site.text(f"task_catalog/harnesses/{stale.name}.html")).text,
        page_of(site, shown, stale.tasks[0]).text,
    ):
        assert "Stale. The last read of this image failed" in text
        assert "the registry did not answer" in text
    assert Page.of(site.text("task_catalog/index.html")).text.count("stale") == 1


def test_an_entry_that_gave_no_harness_is_not_passed_over(tmp_path: Path) -> None:
    catalog = store.load(make_catalog(tmp_path / "catalog", harnesses=1, tasks=1))
    unread = Entry(
        mapping=MappingEntry(key="unread", container="registry.example/unread:1"),
        state=EntryState.STALE,
        reason="no such <image>",
    )
    pages = Site(
        replace(catalog, entries=(*catalog.entries, unread)), Settings(), lambda page: f"{page}.html"
    )
    text = Page.of(pages.block("harnesses", "index")).text
    assert "unread (registry.example/unread:1): no such <image>" in text
    assert "harness-000 (" not in text
    data = catalog_data(pages.catalog, pages.addresses, pages.address_of)
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(data)
    assert [entry["entry"] for entry in data["without_harness"]] == ["unread"]


def test_home_says_what_is_here(site: Built, shown: Catalog) -> None:
    page = Page.of(site.text("index.html"))
    assert "tasks 60 harnesses 5 endpoint types 4 architectures 2" in page.text
    assert all(f"task_catalog/harnesses/{harness.name}.html" in page.links for harness in shown.harnesses)
    assert "This catalog isn't in a git repository" in page.text
    assert {"catalog.json", "llms.txt", "objects.inv", "task_catalog/benchmarks-table.csv"} <= set(page.links)


def test_the_benchmarks_table_has_every_task(site: Built, shown: Catalog) -> None:
    page = Page.of(site.text("task_catalog/benchmarks-table.html"))
    tasks = [link for link in page.links if link.startswith("tasks/") and link.endswith(".html")]
    assert len(tasks) == len(set(tasks)) == len(shown.tasks)


def test_catalog_json_is_as_its_schema_says(site: Built, shown: Catalog) -> None:
    data = json.loads(site.text("catalog.json"))
    schema = json.loads(site.text(data["$schema"]))
    assert schema == json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)
    assert [task["id"] for harness in data["harnesses"] for task in harness["tasks"]] == [
        t.id for t in shown.tasks
    ]
    first = data["harnesses"][0]
    assert first["command"] == shown.harnesses[0].command
    assert not any("command" in task for task in first["tasks"])
    assert first["tasks"][0]["defaults"]["config"] == shown.harnesses[0].tasks[0].defaults["config"]


def test_every_table_stands_as_json_and_csv_beside_it(site: Built, shown: Catalog) -> None:
    table = json.loads(site.text("task_catalog/benchmarks-table.json"))
    rows = read_csv(site, "task_catalog/benchmarks-table.csv")
    assert [row["id"] for row in table] == [row["id"] for row in rows] == [task.id for task in shown.tasks]
    assert list(rows[0]) == list(table[0])
    for harness in shown.harnesses:
        beside = f"task_catalog/harnesses/{harness.name}"
        assert len(json.loads(site.text(f"{beside}.json"))["tasks"]) == len(harness.tasks)
        assert [row["task"] for row in read_csv(site, f"{beside}.csv")] == [
            task.name for task in harness.tasks
        ]


def test_a_task_stands_whole_beside_its_page(site: Built, shown: Catalog) -> None:
    task = shown.harnesses[1].tasks[2]
    beside = Addresses.of(shown).task(task)
    data = json.loads(site.text(f"{beside}.json"))
    assert data["defaults"] == task.defaults
    assert data["image"]["digest"] == shown.harnesses[1].image.digest
    defaults = {row["key"]: row["default"] for row in read_csv(site, f"{beside}.csv")}
    assert json.loads(defaults["config.params.parallelism"]) == task.params["parallelism"]
    assert defaults["config.params.extra.prompt"] == "null"


def read_csv(site: Built, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(site.text(address), newline="")))


def test_llms_txt_leads_to_the_data(site: Built, shown: Catalog) -> None:
    text = site.text("llms.txt")
    assert text.startswith("# Evaluation catalog\n\n> 60 evaluation tasks")
    assert text.count("\n- [Synthetic Harness") == sum(
        harness.full_name is not None for harness in shown.harnesses
    )
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert [link for link in links if link not in site.files()] == []


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Harness]:
    """A site on which no table may have more than 20 rows."""
    folder = tmp_path_factory.mktemp("narrow")
    root = make_catalog(folder / "catalog", harnesses=2, tasks=90)
    return sphinx_build(folder, root, "-D", "evaldock_table_rows=20"), store.load(root).harnesses[0]


def test_a_long_table_goes_on_on_further_pages(narrow: tuple[Built, Harness]) -> None:
    site, harness = narrow
    names = [f"task_catalog/harnesses/{harness.name}{part}.html" for part in ("", ".part-2", ".part-3")]
    listed = [
        link.rpartition("/")[2]
        for name in names
        for link in Page.of(site.text(name)).links
        if "/tasks/" in link
    ]
    assert listed == [f"{task.name}.html" for task in harness.tasks]
    first, second = (Page.of(site.text(name)) for name in names[:2])
    assert f"{harness.name}.part-2.html" in first.links
    assert f"{harness.name}.html" in second.links
    assert "1 to 20" in first.text
    assert "41 to 45" in second.text


def test_a_catalog_too_long_for_one_table_is_listed_by_harness(narrow: tuple[Built, Harness]) -> None:
    site, harness = narrow
    page = Page.of(site.text("task_catalog/benchmarks-table.html"))
    assert f"harnesses/{harness.name}.html#tasks" in page.links
    assert not any(link.startswith("tasks/") for link in page.links)
    assert len(read_csv(site, "task_catalog/benchmarks-table.csv")) == 90


def test_a_full_table_is_small_enough_for_a_page(tmp_path: Path) -> None:
    catalog = store.load(make_catalog(tmp_path / "catalog", harnesses=1, tasks=1000))
    pages = Site(catalog, Settings(), lambda page: f"{page}.html")
    whole = pages.block("benchmarks", BENCHMARKS)
    assert whole.count("<tr>") == 1001
    # Of the 300 KB that a page may have, the theme's part takes about 5.
    assert len(gzip.compress(whole.encode())) < 100_000


def test_the_owner_chooses_the_example_endpoint_and_the_workflow(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=1)
    conf = (
        "evaldock_example_endpoint = {'base_url': 'https://models.ours.example/api', 'model_id': 'our model',"
        " 'api_key_name': 'OUR_KEY'}\nevaldock_workflow = 'ours.yml'\n"
        "evaldock_repository = 'https://forge.example/us/evals.git'"
    )
    index = "# Ours\n\n```{toctree}\ntask_catalog/index\n```\n"
    source = own_source(tmp_path / "ours", {"index.md": index}, conf)
    site = sphinx_build(tmp_path, root, source=source)
    (task,) = store.load(root).tasks
    page = page_of(site, store.load(root), task)
    text = page.text
    assert "https://forge.example/us/evals/actions/workflows/ours.yml" in page.links
    assert "gh workflow run ours.yml \\ --repo forge.example/us/evals \\ -f task=" in text
    assert "--model-id 'our model'" in text
    assert "--url https://models.ours.example/api/" in text
    assert "--api-key-name OUR_KEY" in text
    assert "-f 'model_id=our model'" in text


def test_a_misspelt_example_endpoint_is_refused(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=1)
    conf = "evaldock_example_endpoint = {'model': 'm'}"
    source = own_source(tmp_path / "ours", {"index.md": "# Ours\n"}, conf)
    site = sphinx_build(tmp_path, root, source=source, strict=False)
    assert site.exit_code == 2
    assert "conf.py: evaldock_example_endpoint can't be {'model': 'm'}" in site.said
    assert "it holds texts named base_url, model_id, api_key_name" in site.said


@pytest.mark.parametrize(
    "given", ["javascript:alert(1)", "https://forge.example/us", "https://u:p@forge.example/us/x"]
)
def test_what_is_no_repository_is_refused(given: str, tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=1)
    site = sphinx_build(tmp_path, root, "-D", f"evaldock_repository={given}", strict=False)
    assert site.exit_code == 2
    assert f"not the address of a repository: {given!r}" in site.said
