"""Runs that outlast the job that started them: kept, collected, published and closed, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION, Repository
from action.workflow_log import Ran
from git_commands import git
from launched import until
from launcher.runs.open_runs import BRANCH
from standins import standin

pytestmark = pytest.mark.service("pypi", "node")
Make = Callable[[str], Runner]


def detach(runner: Runner, url: str, **more: str) -> Ran:
    given = {"tasks": "quickcheck.chat", "model-id": "m", "url": url, "backend": "process", "limit": "2"}
    return runner.action(ACTION, {**given, "mode": "detach", "publish": "commit", **more})


def ended(ran: Ran) -> Path:
    """Its folder, once its job has ended."""
    folder = Path(ran.outputs["results-path"])
    until(lambda: list(folder.rglob("exit.json")), "the job ends")
    return folder


def kept(repository: Repository) -> list[str]:
    return repository.files(BRANCH) if BRANCH in repository.branches() else []


def records(repository: Repository) -> list[str]:
    return [name for name in repository.files() if name.endswith("-000.json")]


def collect(runner: Runner, **inputs: str) -> Ran:
    return runner.action(ACTION / "collect", inputs)


def test_a_run_is_left_collected_published_and_closed(
    make_runner: Make, repository: Repository, model: str
) -> None:
    left = detach(make_runner("first"), model)
    assert left.outcome == "success", left.log
    assert left.outputs["state"] == "running"
    run_id = left.outputs["run-id"]
    assert kept(repository) == [f"runs/{run_id}.json"]
    assert "goes on" in left.summary
    ended(left)
    later = make_runner("second")
    later.github["run_id"] = "9999"
    ran = collect(later)
    assert ran.outcome == "success", ran.log
    assert json.loads(ran.outputs["closed"]) == [run_id]
    (record,) = records(repository)
    assert json.loads(ran.outputs["records"]) == [record]
    assert "succeeded | **1.0000**" in ran.summary
    origin = json.loads(git(repository.upstream, "show", f"main:{record}"))["origin"]
    assert origin["url"] == "https://github.example/team/evals/actions/runs/4711"
    assert kept(repository) == []
    nothing = collect(make_runner("third"))
    assert (nothing.outcome, json.loads(nothing.outputs["closed"])) == ("success", [])


def test_what_goes_on_is_left_for_the_next_round(
    make_runner: Make, repository: Repository, tmp_path: Path
) -> None:
    with standin(tmp_path, "--latency", "600") as url:
        left = detach(make_runner("first"), url)
        until(lambda: any(Path(left.outputs["results-path"]).rglob("stage.running")), "the job runs")
        ran = collect(make_runner("second"))
        assert ran.outcome == "success", ran.log
        assert json.loads(ran.outputs["open"]) == [left.outputs["run-id"]]
        assert kept(repository) == [f"runs/{left.outputs['run-id']}.json"]
        # Its deadline has passed: it is stopped, and closed once it has ended.
        overdue(repository, left.outputs["run-id"])
        third = make_runner("third")
        until(lambda: json.loads(collect(third).outputs["closed"]), "the run is closed")
    assert kept(repository) == []
    (exit_file,) = Path(left.outputs["results-path"]).rglob("exit.json")
    assert json.loads(exit_file.read_text())["reason"] == "stopped on request"


def overdue(repository: Repository, run_id: str) -> None:
    git(repository.clone, "fetch", "--quiet", "origin", BRANCH)
    git(repository.clone, "checkout", "--quiet", "-B", "late", "FETCH_HEAD")
    file = repository.clone / "runs" / f"{run_id}.json"
    data = json.loads(file.read_text())
    data["created"] = 1.0
    file.write_text(json.dumps(data))
    git(repository.clone, "commit", "--quiet", "--all", "--message", "Late")
    git(repository.clone, "push", "--quiet", "--force", "origin", f"HEAD:{BRANCH}")


def test_two_collectors_at_once_publish_once(make_runner: Make, repository: Repository, model: str) -> None:
    started = [detach(make_runner(f"start-{n}"), model) for n in range(2)]
    for each in started:
        ended(each)
    runners = [make_runner(f"collect-{n}") for n in range(2)]
    with ThreadPoolExecutor() as pool:
        done = [each.result() for each in [pool.submit(collect, runner) for runner in runners]]
    assert [ran.outcome for ran in done] == ["success", "success"], done[0].log + done[1].log
    closed = [run_id for ran in done for run_id in json.loads(ran.outputs["closed"])]
    assert sorted(closed) == sorted(each.outputs["run-id"] for each in started)
    assert len(records(repository)) == 2
    assert kept(repository) == []


def test_a_network_that_goes_between_submitting_and_saving_loses_nothing(
    make_runner: Make, repository: Repository, model: str, tmp_path: Path
) -> None:
    """The remote takes the run's intent, and nothing after it."""
    hook = repository.upstream / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\n[ ! -e {tmp_path}/once ] || exit 1\ntouch {tmp_path}/once\n")
    hook.chmod(0o755)
    left = detach(make_runner("first"), model)
    assert left.outcome == "success", left.log
    assert "could not be saved" in left.said("warning")[0]
    hook.unlink()
    (name,) = kept(repository)
    handle = json.loads(git(repository.upstream, "show", f"{BRANCH}:{name}"))
    assert [job["native_id"] for job in handle["jobs"].values()] == [None]
    folder = ended(left)
    # Who was to start it holds it no longer than it would have taken.
    free(repository, left.outputs["run-id"])
    ran = collect(make_runner("second"))
    assert ran.outcome == "success", ran.log
    assert json.loads(ran.outputs["closed"]) == [left.outputs["run-id"]]
    assert len(records(repository)) == 1
    assert len(list(folder.rglob("exit.json"))) == 1


def free(repository: Repository, run_id: str) -> None:
    git(repository.clone, "fetch", "--quiet", "origin", BRANCH)
    git(repository.clone, "checkout", "--quiet", "-B", "free", "FETCH_HEAD")
    file = repository.clone / "runs" / f"{run_id}.json"
    data = json.loads(file.read_text())
    data["kept"]["until"] = 0.0
    file.write_text(json.dumps(data))
    git(repository.clone, "commit", "--quiet", "--all", "--message", "Free")
    git(repository.clone, "push", "--quiet", "--force", "origin", f"HEAD:{BRANCH}")


def test_where_the_intent_can_not_be_saved_nothing_starts(
    make_runner: Make, repository: Repository, model: str
) -> None:
    hook = repository.upstream / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    runner = make_runner("first")
    ran = detach(runner, model)
    assert ran.outcome == "failure"
    assert "doesn't take what is pushed" in ran.said("error")[0]
    assert not list(runner.folder.rglob("stage.*"))


def test_results_that_can_not_be_pushed_are_tried_again(
    make_runner: Make, repository: Repository, model: str
) -> None:
    left = detach(make_runner("first"), model)
    ended(left)
    hook = repository.upstream / "hooks" / "update"
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ]\n')
    hook.chmod(0o755)
    refused = collect(make_runner("second"))
    assert refused.outcome == "failure"
    assert json.loads(refused.outputs["closed"]) == []
    assert len(kept(repository)) == 1
    hook.unlink()
    ran = collect(make_runner("third"))
    assert ran.outcome == "success", ran.log
    assert len(records(repository)) == 1


def test_one_handle_that_is_none_does_not_hold_up_the_others(
    make_runner: Make, repository: Repository, model: str
) -> None:
    left = detach(make_runner("first"), model)
    ended(left)
    git(repository.clone, "fetch", "--quiet", "origin", BRANCH)
    git(repository.clone, "checkout", "--quiet", "-B", "spoilt", "FETCH_HEAD")
    (repository.clone / "runs" / "0000000000000000.json").write_text("{}")
    git(repository.clone, "add", ".")
    git(repository.clone, "commit", "--quiet", "--message", "Spoilt")
    git(repository.clone, "push", "--quiet", "origin", f"HEAD:{BRANCH}")
    ran = collect(make_runner("second"))
    assert json.loads(ran.outputs["closed"]) == [left.outputs["run-id"]]
    assert "not a run's handle" in ran.said("warning")[0]
    assert kept(repository) == ["runs/0000000000000000.json"]


def test_a_cancelled_workflow_leaves_no_open_run(
    make_runner: Make, repository: Repository, tmp_path: Path
) -> None:
    with standin(tmp_path, "--latency", "600") as url:
        runner = make_runner("first")
        runner.cancel = lambda: any(runner.folder.rglob("stage.running"))
        ran = detach(runner, url)
        assert ran.outcome == "cancelled"
        (exit_file,) = runner.folder.rglob("exit.json")
        assert json.loads(exit_file.read_text())["reason"] == "stopped on request"
    assert kept(repository) == []


def test_jobs_on_a_runner_of_githubs_are_not_detached(make_runner: Make, model: str) -> None:
    runner = make_runner("first")
    runner.environ["RUNNER_ENVIRONMENT"] = "github-hosted"
    ran = detach(runner, model)
    assert "jobs on process end with the runner" in ran.said("error")[0]
    assert not list(runner.folder.rglob("stage.*"))
