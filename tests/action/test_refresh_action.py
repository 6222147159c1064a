"""`action/refresh`: tags that moved and new tasks become a pull request that has been checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from action.composite import Runner
from action.conftest import ACTION, Repository
from git_commands import git
from running import evaldock
from services.github_server import GitHubServer, github_server

pytestmark = pytest.mark.service("node")


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with github_server() as server:
        yield server


def new_task(repository: Repository) -> None:
    """The same tag, with another image behind it."""
    definition = repository.clone / "harnesses" / "quickcheck" / "framework.yml"
    definition.write_text(
        definition.read_text() + "\n  - {name: brandnew, defaults: {config: {type: brandnew}}}\n"
    )
    image = f"oci:{repository.clone}/images/quickcheck:1.0.0"
    assert evaldock("pack", repository.clone / "harnesses" / "quickcheck", "--to", image).code == 0
    repository.commit(message="Move the tag")


def test_a_tag_that_moved_is_proposed_once_and_again(
    synced: Repository, make_runner: Callable[[str], Runner], github: GitHubServer
) -> None:
    new_task(synced)
    for name in ("first", "second"):
        runner = make_runner(name)
        runner.github["api_url"] = github.url
        ran = runner.action(ACTION / "refresh", {})
        assert ran.outcome == "success", ran.log
        (pull,) = github.pulls
        assert (pull["head"], pull["base"]) == ("evaldock/refresh", "main")
        assert "- added `quickcheck.brandnew`" in pull["body"]
        assert "IR agree, and every image could be read" in pull["body"]
        assert ran.outputs["pull-request"] == pull["html_url"]
    head = git(synced.upstream, "rev-parse", "evaldock/refresh^").strip()
    assert head == git(synced.upstream, "rev-parse", "main").strip()
    changed = git(synced.upstream, "diff", "--name-only", "main", "evaldock/refresh").split()
    assert changed == ["ir/index.yaml", "ir/quickcheck.yaml"]
    git(synced.clone, "fetch", "--quiet")
    git(synced.clone, "merge", "--quiet", "origin/evaldock/refresh")
    assert evaldock("check", "--catalog", synced.clone).code == 0


def test_without_a_change_nothing_is_proposed(
    synced: Repository, runner: Runner, github: GitHubServer
) -> None:
    runner.github["api_url"] = github.url
    ran = runner.action(ACTION / "refresh", {})
    assert ran.outcome == "success", ran.log
    assert "up to date" in ran.summary
    assert github.pulls == []
    assert synced.branches() == ["main"]


def test_an_image_that_can_not_be_read_is_not_proposed_as_stale(
    synced: Repository, runner: Runner, github: GitHubServer
) -> None:
    (runner.workspace / "mapping.toml").write_text('[gone]\ncontainer = "oci:images/gone:1"\n')
    runner.github["api_url"] = github.url
    ran = runner.action(ACTION / "refresh", {})
    assert ran.outcome == "failure"
    assert github.pulls == []
    assert synced.branches() == ["main"]


def test_a_token_that_may_not_make_pull_requests_says_so(
    synced: Repository, runner: Runner, github: GitHubServer
) -> None:
    new_task(synced)
    github.refuse = 403
    runner.github["api_url"] = github.url
    git(runner.workspace, "pull", "--quiet")
    ran = runner.action(ACTION / "refresh", {})
    assert ran.outcome == "failure"
    assert "pull-requests: write" in ran.said("error")[0]


def test_a_token_goes_nowhere_else(synced: Repository, runner: Runner, github: GitHubServer) -> None:
    new_task(synced)
    with github_server() as elsewhere:
        github.redirect = f"{elsewhere.url}/repos/team/evals/pulls"
        runner.github["api_url"] = github.url
        git(runner.workspace, "pull", "--quiet")
        assert runner.action(ACTION / "refresh", {}).outcome == "failure"
        assert elsewhere.requests == []


def test_a_missing_token_is_said_at_once(synced: Repository, runner: Runner) -> None:
    ran = runner.action(ACTION / "refresh", {"token": ""})
    assert "a pull request needs a token" in ran.said("error")[0]
