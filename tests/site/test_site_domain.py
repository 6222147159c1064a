"""Links to tasks and harnesses: from prose, from other projects, and what is said when they lead nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

from catalog.models import Catalog
from generator.site.addresses import Addresses
from site_builds import Built, Page, own_source, sphinx_build
from synthetic import make_catalog

INDEX = "# Ours\n\n```{toctree}\ntask_catalog/index\nprose\n```\n"


def test_roles_lead_to_tasks_and_harnesses_from_anywhere(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=2, tasks=6)
    markdown = (
        "# Prose\n\n{eval:task}`harness-000.math_00000`, {eval:task}`words <safety_00002>`,\n"
        "{eval:harness}`harness-001`, {eval:harness}`the first <harness-000>`,\n"
        "{any}`harness-001.code_00001`.\n"
    )
    other = ":orphan:\n\nProse\n=====\n\n:eval:task:`harness-001.math_00000` of :eval:harness:`harness-001`\n"
    # Only one harness has a third task, so that its bare name is enough.
    pages = {"index.md": INDEX, "prose.md": markdown, "deep/other.rst": other}
    (tmp_path / "ours" / "deep").mkdir(parents=True)
    make_catalog(root, harnesses=2, tasks=5)
    site = sphinx_build(tmp_path, root, source=own_source(tmp_path / "ours", pages))
    text = site.text("prose.html")
    for link in (
        'href="task_catalog/tasks/harness-000/math_00000.html" title="harness-000.math_00000"',
        'href="task_catalog/tasks/harness-000/safety_00002.html" title="harness-000.safety_00002"',
        'href="task_catalog/harnesses/harness-001.html" title="harness-001"',
        'href="task_catalog/harnesses/harness-000.html" title="harness-000"',
        'href="task_catalog/tasks/harness-001/code_00001.html"',
    ):
        assert link in text
    links = Page.of(site.text("deep/other.html")).links
    assert {
        "../task_catalog/tasks/harness-001/math_00000.html",
        "../task_catalog/harnesses/harness-001.html",
    } <= {*links}


def test_what_leads_nowhere_is_said_with_a_suggestion(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=2, tasks=5)
    prose = (
        "# Prose\n\n{eval:task}`harness-000.safty_00002`\n\n{eval:task}`mth_00000`\n\n"
        "{eval:task}`math_00000`\n\n{eval:task}`nothing.like.it`\n\n{eval:harness}`harnes-000`\n"
    )
    source = own_source(tmp_path / "ours", {"index.md": INDEX, "prose.md": prose})
    site = sphinx_build(tmp_path, root, source=source, strict=False)
    said = [line.partition("prose.md:")[2] for line in site.said.splitlines() if "prose.md:" in line]
    assert [line.partition(" [")[0] for line in said] == [
        "3: WARNING: the catalog has no task 'harness-000.safty_00002'; did you mean "
        "'harness-000.safety_00002' or 'harness-000.math_00000' or 'harness-001.math_00000'?",
        "5: WARNING: the catalog has no task 'mth_00000'; did you mean 'math_00000'?",
        "7: WARNING: task 'math_00000' stands in several harnesses: write one of harness-000.math_00000, "
        "harness-001.math_00000",
        "9: WARNING: the catalog has no task 'nothing.like.it'",
        "11: WARNING: the catalog has no harness 'harnes-000'; did you mean 'harness-000' or 'harness-001'?",
    ]


def test_the_inventory_names_every_page(site: Built, shown: Catalog) -> None:
    inventory = dict(InventoryFile.loads((site.output / "objects.inv").read_bytes(), uri="").data)
    addresses = Addresses.of(shown)
    tasks = {name: item.uri for name, item in inventory["eval:task"].items()}
    assert tasks == {task.id: f"{addresses.task(task)}.html" for task in shown.tasks}
    titles = {name: item.display_name for name, item in inventory["eval:harness"].items()}
    assert titles == {harness.name: harness.full_name or "-" for harness in shown.harnesses}


def test_another_project_links_in_through_the_inventory(site: Built, shown: Catalog, tmp_path: Path) -> None:
    task = shown.tasks[0]
    source = tmp_path / "other"
    source.mkdir()
    inventory = str(site.output / "objects.inv")
    (source / "conf.py").write_text(
        "extensions = ['myst_parser', 'sphinx.ext.intersphinx']\n"
        f"intersphinx_mapping = {{'ev': ('https://catalog.example/', {inventory!r})}}\n"
    )
    (source / "index.md").write_text(f"# Other\n\n[ours](inv:ev:eval:task#{task.id})\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    address = f"https://catalog.example/{Addresses.of(shown).task(task)}.html"
    assert f'href="{address}"' in (tmp_path / "out" / "index.html").read_text()


def test_parallel_builds_know_the_same(tmp_path: Path) -> None:
    """Documents read in one process are brought up to date by what another remembers of them."""
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=2)
    prose = {
        f"p{at}.md": f"---\norphan: true\n---\n# P{at}\n\n{{eval:task}}`math_00000`\n" for at in range(25)
    }
    index = "# Ours\n\n```{toctree}\ntask_catalog/index\n```\n"
    source = own_source(tmp_path / "ours", {"index.md": index, **prose})
    site = sphinx_build(tmp_path, root, "-j", "2", source=source)
    links = [Page.of(site.text(f"p{at}.html")).links for at in range(25)]
    assert all("task_catalog/tasks/harness-000/math_00000.html" in each for each in links)
    make_catalog(root, harnesses=1, tasks=0)
    again = sphinx_build(tmp_path, root, "-j", "2", source=source, strict=False)
    assert again.said.count("WARNING: the catalog has no task 'math_00000'") == 25


@pytest.mark.parametrize("builder", ["dirhtml", "text"])
def test_other_builders_work_too(tmp_path: Path, builder: str) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=2)
    prose = "# Prose\n\n{eval:task}`math_00000`\n"
    source = own_source(tmp_path / "ours", {"index.md": INDEX, "prose.md": prose})
    site = sphinx_build(tmp_path, root, "-b", builder, source=source)
    if builder == "dirhtml":
        page = Page.of(site.text("task_catalog/tasks/harness-000/math_00000/index.html"))
        assert "../../../harnesses/harness-000/" in page.links
        assert "../task_catalog/tasks/harness-000/math_00000/" in Page.of(site.text("prose/index.html")).links
        data = [link for link in page.links if link.endswith(".json")]
        assert data == ["../math_00000.json"]
        assert (site.output / "task_catalog/tasks/harness-000/math_00000.json").is_file()
    else:
        assert "math_00000" in site.text("prose.txt")


def test_another_theme_works_too(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=2)
    source = own_source(
        tmp_path / "ours", {"index.md": INDEX, "prose.md": "# P\n"}, "html_theme = 'alabaster'"
    )
    site = sphinx_build(tmp_path, root, source=source)
    text = Page.of(site.text("task_catalog/tasks/harness-000/math_00000.html")).text
    assert "evaldock run harness-000.math_00000" in text
