"""`evaldock build`: a site from a catalog and nothing else, or from somebody's own project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from site_builds import ROOT, Page, own_source
from synthetic import make_catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_catalog(tmp_path / "catalog", harnesses=1, tasks=3)
    return tmp_path


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Sphinx leaves its mark on the one it runs in."""
    script = "from catalog.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVALDOCK_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", script, "build", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_catalog_is_all_it_needs(folder: Path) -> None:
    done = build(folder, "-W", "--title", "Ours & <yours>")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == (folder / "site" / "index.html").as_uri()
    home = (folder / "site" / "index.html").read_text()
    assert "<title>Evaluation tasks in containers &#8212; Ours &amp; &lt;yours&gt;</title>" in home
    assert (folder / "site" / "task_catalog" / "tasks" / "harness-000" / "math_00000.html").is_file()
    # Nothing but the site is in the site, and nothing else beside it.
    assert not list((folder / "site").rglob("*.doctree"))
    assert {path.name for path in folder.iterdir()} == {"catalog", "site", "cache"}

    make_catalog(folder / "catalog", harnesses=1, tasks=2)
    again = build(folder, "-W", "--quiet")
    assert again.stdout == f"{(folder / 'site' / 'index.html').as_uri()}\n"
    assert not (folder / "site" / "task_catalog" / "tasks" / "harness-000" / "safety_00002.html").exists()


def test_a_project_of_ones_own_is_built_too(folder: Path) -> None:
    source = own_source(folder / "docs", {"index.md": "# Our own\n\n```{toctree}\ntask_catalog/index\n```\n"})
    done = build(folder, "--source", "docs", "--output", "public", "--json")
    assert done.returncode == 0, done.stderr
    address = (folder / "public" / "index.html").as_uri()
    assert json.loads(done.stdout) == {"output": str(folder / "public"), "address": address, "tasks": 3}
    assert Page.of((folder / "public" / "index.html").read_text()).text.count("Our own") >= 1
    assert (source / "task_catalog" / "index.md").is_file()


def test_warnings_count_when_they_are_asked_to(folder: Path) -> None:
    own_source(folder / "docs", {"index.md": "# Our own\n\n{eval:task}`math_0000`\n"})
    lax, strict = build(folder, "--source", "docs"), build(folder, "--source", "docs", "-W")
    assert lax.returncode == 0
    assert "the catalog has no task 'math_0000'; did you mean 'math_00000' or" in lax.stderr
    assert strict.returncode == 1
    assert "the site was not built, or not without warnings" in strict.stderr


def test_sphinx_missing_says_what_to_install(folder: Path) -> None:
    script = "import sys; sys.modules['sphinx'] = None; from catalog.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVALDOCK_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", script, "build"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install it with `pip install 'evaldock[site]'`" in done.stderr
