"""The newest changes on the home page, out of real git repositories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import git_commands
from catalog import store
from catalog.models import Task
from generator.site.history import ChangeLog, History
from generator.site.pages import Site
from generator.site.settings import Settings
from site_builds import Page, rewrite
from synthetic import make_catalog


def git(folder: Path, *words: str, date: str = "2024-01-01") -> None:
    moment = f"{date}T12:00:00+0000"
    git_commands.git(folder, *words, environ={"GIT_COMMITTER_DATE": moment, "GIT_AUTHOR_DATE": moment})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A catalog in a repository with a history: begun, a task removed, another changed."""
    root = make_catalog(tmp_path / "repository" / "catalog", harnesses=2, tasks=8)
    git(root, "init", "-q", "-b", "main", "..")
    commit(root, "Begin", "2024-01-01")
    (root.parent / "README.md").write_text("not about the catalog\n")
    commit(root, "Elsewhere", "2024-01-02")
    change_tasks(root, lambda tasks: tasks[1:])
    commit(root, "Drop <one>", "2024-01-03")
    change_tasks(root, lambda tasks: (replace(tasks[0], description="Changed."), *tasks[1:]))
    commit(root, "Change one", "2024-01-04")
    return root


def commit(root: Path, message: str, date: str) -> None:
    git(root, "add", "-A", "..")
    git(root, "commit", "-q", "-m", message, date=date)


def change_tasks(root: Path, change: Callable[[tuple[Task, ...]], tuple[Task, ...]]) -> None:
    first, *others = store.load(root).entries
    harness = first.harnesses[0]
    rewrite(root, [replace(first, harnesses=(replace(harness, tasks=change(harness.tasks)),)), *others])


def history(root: Path) -> History:
    return ChangeLog(store.load(root)).history()


def test_changes_are_those_of_the_catalog_newest_first(root: Path) -> None:
    found = history(root)
    assert [(c.commit.date, c.commit.subject, c.summary) for c in found.changes if c.commit] == [
        ("2024-01-04", "Change one", "1 task changed"),
        ("2024-01-03", "Drop <one>", "1 task removed"),
        ("2024-01-01", "Begin", "2 harnesses added; 8 tasks added"),
    ]
    assert found.note is None


def test_what_is_not_committed_stands_first(root: Path) -> None:
    change_tasks(root, lambda tasks: tasks[:-1])
    first = history(root).changes[0]
    assert first.commit is None
    assert first.summary == "1 task removed"


def test_the_page_shows_them_escaped_and_linked(root: Path) -> None:
    site = Site(store.load(root), Settings(), lambda page: f"{page}.html")
    block = site.block("changes", "index")
    text = Page.of(block).text
    assert "2024-01-04 Change one 1 task changed Changed: harness-000.code_00001" in text
    assert "2024-01-03 Drop <one> 1 task removed Removed: harness-000.math_00000" in text
    assert "2024-01-01 Begin The beginning: 2 harnesses added; 8 tasks added" in text
    assert '<a href="task_catalog/tasks/harness-000/code_00001.html">' in block
    assert "tasks/harness-000/math_00000.html" not in block


def test_a_shallow_clone_does_not_claim_to_know_the_beginning(root: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", root.parent.as_uri(), str(clone))
    found = history(clone / "catalog")
    assert (list(found.changes), found.note) == ([], "Earlier changes are not in this clone.")


def test_without_a_repository_nothing_is_made_up(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=1)
    found = history(root)
    assert list(found.changes) == []
    assert found.note is not None
    assert "isn't in a git repository" in found.note


def test_a_state_that_does_not_verify_is_not_compared(root: Path) -> None:
    ir = next((root / "ir").glob("harness-001*.yaml"))
    good = ir.read_bytes()
    ir.write_bytes(good.replace(b"Asks", b"Says"))
    commit(root, "Break it", "2024-01-05")
    ir.write_bytes(good)
    commit(root, "Mend it", "2024-01-06")
    summaries = {change.commit.subject: change.summary for change in history(root).changes if change.commit}
    assert summaries["Break it"] == "can't be compared: the IR of one of its two states doesn't verify"
    assert summaries["Change one"] == "1 task changed"


def test_a_new_commit_brings_the_home_page_up_to_date(root: Path) -> None:
    def key() -> str:
        return Site(store.load(root), Settings(), lambda page: f"{page}.html").block_key("changes", "index")

    before = key()
    assert key() == before
    git(root, "commit", "-q", "--amend", "-m", "Said better", date="2024-01-04")
    assert key() != before
