"""`action/check` on pull requests: annotations on the lines of mapping.toml, and what changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION, Repository
from git_commands import git
from running import evaldock

pytestmark = pytest.mark.service("node")


@pytest.fixture
def on_pull_request(
    synced: Repository, make_runner: Callable[[str], Runner]
) -> Callable[[Callable[[Path], object]], Runner]:
    """A runner with a checkout of what the change would be when merged, two commits deep."""

    def make(change: Callable[[Path], object]) -> Runner:
        clone = synced.clone
        git(clone, "checkout", "--quiet", "-b", "proposed")
        change(clone)
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "--message", "Proposed")
        git(clone, "checkout", "--quiet", "main")
        git(clone, "merge", "--quiet", "--no-ff", "--message", "Merged", "proposed")
        git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/merged")
        runner = make_runner("pull-request")
        runner.github |= {"event_name": "pull_request", "ref_name": "merged", "ref_type": "branch"}
        runner.foreign["actions/checkout"](runner, {"fetch-depth": "2"}, {})
        return runner

    return make


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(clone: Path) -> None:
        file = clone / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


def test_a_catalog_that_agrees_passes(synced: Repository, make_runner: Callable[[str], Runner]) -> None:
    ran = make_runner("runner").action(ACTION / "check", {})
    assert ran.outcome == "success", ran.log
    assert ran.outputs["findings"] == "0"
    assert "agrees with itself" in ran.summary
    assert (ran.annotations, ran.commands) == ([], [])


def test_what_is_wrong_stands_at_its_line(on_pull_request: Callable[..., Runner]) -> None:
    runner = on_pull_request(replace("mapping.toml", ":1.0.0", ":1.0.1"))
    ran = runner.action(ACTION / "check", {"sarif": "out/findings.sarif"})
    assert ran.outcome == "failure"
    (found,) = [each for each in ran.annotations if each.level == "error"]
    assert found.properties["file"] == "mapping.toml"
    assert found.properties["line"] == "2"
    assert "1.0.1" in found.message
    assert "1 error" in ran.summary
    sarif = json.loads((runner.workspace / "out" / "findings.sarif").read_text())
    assert sarif["runs"][0]["results"][0]["level"] == "error"


def test_reviewers_see_what_changes_in_the_catalog(on_pull_request: Callable[..., Runner]) -> None:
    def without_a_task(clone: Path) -> None:
        (clone / "mapping.toml").write_text("")
        assert evaldock("sync", "--catalog", clone).code == 0

    ran = on_pull_request(without_a_task).action(ACTION / "check", {})
    assert ran.outcome == "success", ran.log
    assert ran.outputs["changed"] == "true"
    assert "- removed `quickcheck`" in ran.summary


def test_a_checkout_that_is_too_shallow_says_so(on_pull_request: Callable[..., Runner]) -> None:
    runner = on_pull_request(lambda clone: (clone / "README.md").write_text("x"))
    runner.foreign["actions/checkout"](runner, {}, {})
    ran = runner.action(ACTION / "check", {})
    assert ran.outcome == "success", ran.log
    assert "fetch-depth: 2" in ran.summary
    assert ran.outputs["changed"] == ""


def test_a_mapping_alone_is_checked_by_reading_its_images(
    repository: Repository, make_runner: Callable[[str], Runner]
) -> None:
    assert make_runner("good").action(ACTION / "check", {}).outcome == "success"
    replace("mapping.toml", "oci:images/quickcheck:1.0.0", "oci:images/gone:1")(repository.clone)
    repository.commit()
    ran = make_runner("bad").action(ACTION / "check", {})
    assert ran.outcome == "failure"
    assert [each.properties["line"] for each in ran.annotations] == ["2"]
    assert "(no such folder)" in ran.said("error")[0]


def test_what_a_pull_request_brings_along_is_not_run(on_pull_request: Callable[..., Runner]) -> None:
    def hostile(clone: Path) -> None:
        for name in ("generator", "catalog", "click", "json"):
            (clone / name).mkdir()
            (clone / name / "__init__.py").write_text("open('pwned', 'w')")
        (clone / "sitecustomize.py").write_text("open('pwned', 'w')")

    runner = on_pull_request(hostile)
    ran = runner.action(ACTION / "check", {})
    assert ran.outcome == "success", ran.log
    assert not list(runner.workspace.rglob("pwned"))


def test_a_repository_without_a_catalog_is_told_what_is_missing(
    synced: Repository, make_runner: Callable[[str], Runner]
) -> None:
    ran = make_runner("runner").action(ACTION / "check", {"catalog": "elsewhere"})
    assert ran.outcome == "failure"
    assert "no mapping.toml" in ran.said("error")[0]
