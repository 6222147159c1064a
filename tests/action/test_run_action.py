"""`action/`, step by step as a runner would: real runs, published results, summaries and outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION, Repository
from git_commands import git
from services.github_server import github_server
from standins import standin

pytestmark = pytest.mark.service("pypi", "node")


def inputs(url: str, **more: str) -> dict[str, str]:
    return {
        "tasks": "quickcheck.chat",
        "model-id": "org/model",
        "url": url,
        "backend": "process",
        "limit": "4",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def test_a_run_is_published_told_and_handed_on(runner: Runner, repository: Repository, model: str) -> None:
    ran = runner.action(ACTION, inputs(model, publish="commit", gate="0.5"))
    assert ran.outcome == "success", ran.log
    (record,) = json.loads(ran.outputs["records"])
    assert record.startswith("results/quickcheck/chat/org-model-")
    assert record in repository.files()
    assert repository.log()[0] == "Publish quickcheck.chat for org/model"
    (score,) = json.loads(ran.outputs["scores"])
    assert (score["task"], score["model"], score["value"]) == ("quickcheck.chat", "org/model", 1.0)
    assert ran.outputs["state"] == "succeeded"
    assert (Path(ran.outputs["results-path"]) / "run.json").exists()
    assert "| `quickcheck.chat` | `org/model` | succeeded | **1.0000**" in ran.summary
    assert "| open |" in ran.summary
    assert f"](<https://github.example/team/evals/blob/main/{record}>)" in ran.summary
    assert (ran.annotations, ran.commands) == ([], [])


def test_results_become_a_pull_request(runner: Runner, repository: Repository, model: str) -> None:
    with github_server() as github:
        runner.github["api_url"] = github.url
        ran = runner.action(ACTION, inputs(model, publish="pull-request"))
        assert ran.outcome == "success", ran.log
        (pull,) = github.pulls
        assert pull["base"] == "main"
        assert pull["head"] == f"evaldock/results-{ran.outputs['run-id']}"
        assert pull["title"] == "Publish quickcheck.chat for org/model"
        assert "`quickcheck.chat` for `org/model`: 1.0000" in pull["body"]
        (record,) = json.loads(ran.outputs["records"])
        assert record in repository.files(pull["head"])
        assert record not in repository.files()
        assert pull["html_url"] in ran.summary
        assert ran.outputs["pull-request"] == pull["html_url"]


def test_a_closed_gate_fails_the_step_and_publishes_all_the_same(
    runner: Runner, repository: Repository, model: str
) -> None:
    ran = runner.action(ACTION, inputs(model, publish="commit", gate="2\nquickcheck.chat/accuracy=0.1"))
    assert ran.outcome == "failure"
    (closed,) = ran.annotations
    assert closed.properties["title"] == "the gate is closed"
    assert "at least 2 wanted" in closed.message
    assert "| **closed** |" in ran.summary
    assert len(json.loads(ran.outputs["records"])) == 1


def test_the_result_before_stands_beside_it_and_can_gate(
    runner: Runner, repository: Repository, model: str
) -> None:
    assert runner.action(ACTION, inputs(model, publish="commit")).outcome == "success"
    again = runner.action(ACTION, inputs(model, no_worse_than="org/model"))
    assert again.outcome == "success", again.log
    assert "| 1.0000 | +0.0000: could be chance |" in again.summary
    assert len([name for name in repository.files() if name.startswith("results/")]) == 2


def test_a_job_that_fails_is_told_with_its_log(runner: Runner, repository: Repository) -> None:
    once = "evaluation.nemo_evaluator_config.config.params.max_retries=0"
    gone = inputs("http://127.0.0.1:9/v1", publish="commit", overrides=once)
    ran = runner.action(ACTION, gone)
    assert ran.outcome == "failure"
    assert ran.outputs["state"] == "failed"
    assert json.loads(ran.outputs["records"]) == []
    titles = [each.properties["title"] for each in ran.annotations]
    assert titles == ["quickcheck.chat for org/model failed", "evaldock: not published"]
    assert "<details><summary>quickcheck.chat for org/model: failed</summary>" in ran.summary
    assert [name for name in repository.files() if name.startswith("results/")] == []


def test_a_configuration_of_the_repository_is_run(runner: Runner, model: str) -> None:
    (runner.workspace / "ci").mkdir()
    (runner.workspace / "ci" / "nightly.yaml").write_text(
        "execution: {type: process}\nevaluation: {tasks: [{name: quickcheck.chat}]}\n"
        f"target: {{api_endpoint: {{model_id: m, url: '{model}'}}}}\n"
    )
    ran = runner.action(ACTION, {"config": "ci/nightly.yaml", "limit": "2", "model-id": "other"})
    assert ran.outcome == "success", ran.log
    (score,) = json.loads(ran.outputs["scores"])
    assert score["model"] == "other"


def test_a_key_goes_to_the_address_that_its_profile_binds_it_to(
    runner: Runner, model: str, tmp_path: Path
) -> None:
    (runner.workspace / "env.toml").write_text(
        f'[ours]\nexecutor = "process"\n[ours.keys]\n"{model}" = "API_KEY"\n'
    )
    runner.environ["API_KEY"] = "k3y-of-the-model"
    keyed = {**inputs(model), "profile": "ours", "api-key-name": "API_KEY", "backend": ""}
    ran = runner.action(ACTION, keyed)
    assert ran.outcome == "success", ran.log
    astray = runner.action(ACTION, {**keyed, "url": "http://evil.example/v1"})
    assert astray.outcome == "failure"
    assert "API_KEY" in astray.said("error")[0]
    unbound = runner.action(
        ACTION, {**keyed, "profile": "", "backend": "process", "url": "http://x.example/v1"}
    )
    assert unbound.outcome == "failure"
    left = b"".join(path.read_bytes() for path in runner.folder.rglob("*") if path.is_file())
    assert b"k3y-of-the-model" not in left


def test_everything_that_is_wrong_is_said_before_anything_starts(
    runner: Runner, repository: Repository
) -> None:
    wrong = {
        "model-id": "m",
        "api-key-name": "API_KEY",
        "overrides": "no assignment",
        "limit": "many",
        "publish": "somewhere",
        "partial": "perhaps",
        "mode": "both",
        "config": "gone.yaml",
        "deadline": "soon",
        "runs-branch": "../x",
    }
    ran = runner.action(ACTION, wrong)
    assert ran.outcome == "failure"
    (said,) = ran.said("error")
    for name in ("overrides", "limit", "publish", "partial", "mode", "config", "deadline", "runs-branch"):
        assert f"  - {name}: " in said, name
    assert "the variable API_KEY is empty" in said
    assert ran.outputs["run-id"] == ""


def test_a_missing_token_is_said_before_hours_are_spent(runner: Runner, repository: Repository) -> None:
    ran = runner.action(ACTION, inputs("http://127.0.0.1:9/v1", publish="pull-request", token=""))
    assert ran.outcome == "failure"
    assert "a pull request needs a token" in ran.said("error")[0]
    assert ran.outputs["run-id"] == ""


def test_a_branch_that_takes_nothing_is_noticed_before_hours_are_spent(
    runner: Runner, repository: Repository
) -> None:
    ran = runner.action(ACTION, inputs("http://127.0.0.1:9/v1", publish="commit", branch="gone"))
    assert "no branch 'gone' to publish to" in ran.said("error")[0]
    # What a token without rights comes to: reading works, and pushing ends before anything is sent.
    git(
        runner.workspace,
        "config",
        f"url.{repository.upstream}/nobody.pushInsteadOf",
        f"file://{repository.upstream}",
    )
    ran = runner.action(ACTION, inputs("http://127.0.0.1:9/v1", publish="commit"))
    assert "the remote can't be reached" in ran.said("error")[0]
    assert ran.outputs["run-id"] == ""


def test_a_push_that_is_refused_keeps_the_results_and_says_what_to_do(
    runner: Runner, repository: Repository, model: str
) -> None:
    hook = repository.upstream / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'protected branch hook declined' >&2\nexit 1\n")
    hook.chmod(0o755)
    ran = runner.action(ACTION, inputs(model, publish="commit"))
    assert ran.outcome == "failure"
    (error,) = ran.annotations
    assert error.properties["title"] == "evaldock: not published"
    assert "publish: pull-request" in error.message
    assert ran.outputs["state"] == "succeeded"
    assert list(Path(ran.outputs["results-path"]).rglob("results.yml"))


def test_two_publishers_at_once_both_come_through(
    make_runner: Callable[[str], Runner], repository: Repository, model: str
) -> None:
    runners = [make_runner(name) for name in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        started = [
            pool.submit(each.action, ACTION, inputs(model, publish="commit") | {"model-id": f"org/{n}"})
            for n, each in enumerate(runners)
        ]
        assert [each.result().outcome for each in started] == ["success", "success"]
    assert len([name for name in repository.files() if name.endswith("-000.json")]) == 2


def test_a_cancelled_workflow_ends_what_it_started(
    runner: Runner, repository: Repository, tmp_path: Path
) -> None:
    with standin(tmp_path, "--latency", "600") as url:
        runner.cancel = lambda: any(runner.folder.rglob("stage.running"))
        ran = runner.action(ACTION, inputs(url))
    assert ran.outcome == "cancelled"
    assert "cancelled" in ran.log
    (ended,) = runner.folder.rglob("exit.json")
    assert json.loads(ended.read_text())["reason"] == "stopped on request"
    assert not list(runner.folder.rglob("credentials"))
