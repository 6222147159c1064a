from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import store
from catalog.models import Harness
from git_commands import git
from running import evaldock
from synthetic import make_catalog


def commit(repository: Path, message: str) -> str:
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", message)
    return git(repository, "rev-parse", "HEAD")


def rewrite(root: Path, **changes: object) -> None:
    """Writes the catalog again with its first harness changed."""
    catalog = store.load(root)
    first, *rest = catalog.entries
    harness = replace(first.harnesses[0], **changes)  # type: ignore[arg-type]
    mapping = (root / "mapping.toml").read_bytes()
    store.write(root, hashlib.sha256(mapping).hexdigest(), [replace(first, harnesses=(harness,)), *rest])


def without_first_task(root: Path) -> Harness:
    harness = store.load(root).harnesses[0]
    return replace(harness, tasks=harness.tasks[1:])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a catalog in a folder below, and another branch at its first commit."""
    folder = tmp_path / "a repository"
    make_catalog(folder / "evals", harnesses=2, tasks=6)
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    commit(folder, "First")
    git(folder, "tag", "v1")
    return folder


def test_a_revision_is_compared_with_the_work_tree(repository: Path) -> None:
    root = repository / "evals"
    assert evaldock("diff", "HEAD", "--catalog", root).out == "nothing changed\n"
    rewrite(root, tasks=without_first_task(root).tasks)
    ran = evaldock("diff", "HEAD", "--catalog", root, "--exit-code")
    assert (ran.code, ran.out) == (1, "- harness-000.math_00000\n1 task removed\n")


def test_two_revisions_are_compared_without_touching_the_work_tree(repository: Path) -> None:
    root = repository / "evals"
    rewrite(root, tasks=without_first_task(root).tasks, description="Another")
    second = commit(repository, "Second")
    (root / "ir" / "index.yaml").write_text("nothing of this is read\n")
    ran = evaldock("diff", "v1", second[:10], "--catalog", root, "--json")
    assert ran.code == 0
    assert ran.json["equal"] is False
    assert ran.json["tasks"]["removed"] == ["harness-000.math_00000"]
    assert [field["path"] for field in ran.json["harnesses"]["changed"][0]["fields"]] == ["description"]
    assert git(repository, "status", "--porcelain") == "M evals/ir/index.yaml"


def test_a_pull_request_is_compared_from_where_it_parted(repository: Path) -> None:
    root = repository / "evals"
    git(repository, "checkout", "-q", "-b", "topic")
    rewrite(root, description="On the topic branch")
    commit(repository, "Topic")
    git(repository, "checkout", "-q", "main")
    rewrite(root, tasks=without_first_task(root).tasks)
    commit(repository, "Main moved on")
    git(repository, "checkout", "-q", "topic")
    ran = evaldock("diff", "main", "--merge-base", "--catalog", root, "--json")
    assert ran.json["tasks"] == {"added": [], "removed": [], "renamed": [], "changed": []}
    assert ran.json["base"] == git(repository, "rev-parse", "v1")
    assert len(ran.json["harnesses"]["changed"]) == 1


def test_a_hook_of_git_can_run_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    assert evaldock("diff", "HEAD", "--catalog", "evals").out == "nothing changed\n"


def test_folders_need_no_git(tmp_path: Path) -> None:
    one = make_catalog(tmp_path / "one", harnesses=1, tasks=2)
    other = make_catalog(tmp_path / "other", harnesses=1, tasks=3)
    ran = evaldock("diff", one, other)
    assert "+ harness-000.safety_00002" in ran.out.splitlines()
    assert ran.err == ""


def test_markdown_names_both_sides(repository: Path) -> None:
    ran = evaldock("diff", "v1", "--catalog", repository / "evals", "--format", "markdown")
    assert ran.out == "### Catalog: nothing changed\n\n`v1` → `work tree`\n\n"


def test_everything_is_new_where_there_was_no_catalog(repository: Path) -> None:
    shutil.rmtree(repository / "evals")
    commit(repository, "Gone")
    make_catalog(repository / "evals", harnesses=1, tasks=2)
    ran = evaldock("diff", "HEAD", "--catalog", repository / "evals")
    assert ran.out.splitlines()[-1] == "1 harness added; 2 tasks added"
    assert ran.err == "evaldock: there is no catalog in HEAD: everything counts as added or removed\n"


def test_symbolic_links_in_a_revision_are_not_followed(repository: Path, tmp_path: Path) -> None:
    root = repository / "evals"
    (tmp_path / "secret.yaml").write_text("version: 1\n")
    (root / "ir" / "harness-000.yaml").unlink()
    (root / "ir" / "harness-000.yaml").symlink_to(tmp_path / "secret.yaml")
    commit(repository, "A link")
    ran = evaldock("diff", "v1", "HEAD", "--catalog", root)
    assert "- harness harness-000" in ran.out
    assert "does not verify" in ran.err


@pytest.mark.parametrize("revision", ["--output=/tmp/x", "-h", "", "a\nb"])
def test_no_revision_becomes_an_option(repository: Path, revision: str) -> None:
    ran = evaldock("diff", "--catalog", repository / "evals", "--", revision)
    assert ran.code == 2
    assert ran.err == f"evaldock: not a revision: {revision!r}\n"


def test_an_unknown_revision_is_not_found(repository: Path) -> None:
    ran = evaldock("diff", "no-such-branch", "--catalog", repository / "evals")
    assert ran.code == 3
    assert "neither a catalog's folder nor a git revision: 'no-such-branch'" in ran.err


def test_a_revision_needs_a_repository(tmp_path: Path) -> None:
    ran = evaldock("diff", "main", "--catalog", make_catalog(tmp_path / "one", harnesses=1, tasks=1))
    assert ran.code == 2
    assert "git rev-parse failed" in ran.err
