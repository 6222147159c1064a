"""This project's own workflows, job by job: what one hands to the next, and when the next runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from action.composite import Runner
from action.conftest import ROOT, Repository
from catalog import store
from foundation import doc_examples
from generator.site.run_commands import RunCommands
from generator.site.settings import Settings
from git_commands import git
from launched import until

pytestmark = pytest.mark.service("pypi", "node")
Make = Callable[[str], Runner]


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())[
        "jobs"
    ]
    return found


def form(url: str, **more: str) -> dict[str, str]:
    """As GitHub sends it: every field, what nobody filled in empty, and each choice's first option."""
    given = {
        "task": "quickcheck.chat",
        "model_id": "m",
        "url": url,
        "backend": "process",
        "limit": "2",
        "mode": "wait",
        "publish": "commit",
        **more,
    }
    names = yaml.safe_load((ROOT / ".github" / "workflows" / "evaluate.yml").read_text())[True]
    fields: dict[str, str] = dict.fromkeys(names["workflow_dispatch"]["inputs"], "")
    assert set(given) <= set(fields)
    return fields | given


def starts(runner: Runner, job: dict[str, Any], inputs: dict[str, Any], **outputs: str) -> bool:
    needed = {name: {"outputs": outputs, "result": "success"} for name in [job["needs"]]}
    return runner.job({"if": job["if"], "steps": []}, inputs=inputs, needs=needed).outcome != "skipped"


def test_an_evaluation_is_published_kept_and_followed_by_the_site(
    make_runner: Make, repository: Repository, model: str
) -> None:
    evaluate = jobs("evaluate")
    runner, inputs = make_runner("runner"), form(model)
    shutil.rmtree(runner.workspace)
    runner.workspace.mkdir()
    ran = runner.job(evaluate["evaluate"], inputs=inputs)
    assert ran.outcome == "success", ran.log
    (record,) = json.loads(ran.outputs["records"])
    assert record in repository.files()
    assert list((runner.folder / "artifacts").rglob("results.yml"))
    assert starts(runner, evaluate["docs"], inputs, **ran.outputs)
    assert not starts(runner, evaluate["docs"], form(model, publish="pull-request"), **ran.outputs)
    assert not starts(runner, evaluate["docs"], inputs, records="", state="failed")


def test_what_was_detached_is_collected_and_followed_by_the_site(
    make_runner: Make, repository: Repository, model: str
) -> None:
    first = make_runner("first")
    left = first.job(jobs("evaluate")["evaluate"], inputs=form(model, mode="detach"))
    assert left.outcome == "success", left.log
    assert not starts(first, jobs("evaluate")["docs"], form(model), **left.outputs)
    until(lambda: list(first.folder.rglob("exit.json")), "the job ends")
    second, collect = make_runner("second"), jobs("collect")
    ran = second.job(collect["collect"])
    assert ran.outcome == "success", ran.log
    assert starts(second, collect["docs"], {}, **ran.outputs)
    nothing = make_runner("third").job(collect["collect"])
    assert nothing.outcome == "success"
    assert not starts(second, collect["docs"], {}, **nothing.outputs)


def test_the_site_shows_what_was_published_after_the_workflow_had_begun(
    make_runner: Make, repository: Repository, model: str
) -> None:
    clone = repository.clone
    (clone / "catalog").mkdir()
    for name in ("mapping.toml", "harnesses", "images"):
        git(clone, "mv", name, "catalog")
    (clone / "docs").mkdir()
    (clone / "docs" / "conf.py").write_text(
        "extensions = ['generator.site']\nproject = 'Ours'\nevaldock_catalog = '../catalog'\n"
        "html_theme = 'pydata_sphinx_theme'\n"
    )
    (clone / "docs" / "index.md").write_text("# Ours\n\n```{toctree}\ntask_catalog/index\n```\n")
    repository.commit(message="A site of our own")
    begun = git(clone, "rev-parse", "HEAD").strip()
    ran = make_runner("first").job(jobs("evaluate")["evaluate"], inputs=form(model))
    assert ran.outcome == "success", ran.log
    runner = make_runner("second")
    runner.github["sha"] = begun
    built = runner.job(jobs("docs")["build"], inputs={"ref": "main", "deploy": True})
    assert built.outcome == "success", built.log
    (record,) = json.loads(ran.outputs["records"])
    page = Path("task_catalog", *Path(record).with_suffix(".html").parts[1:])
    assert (runner.folder / "artifacts" / "github-pages" / page).is_file()
    deploy = jobs("docs")["deploy"]
    assert starts(runner, deploy, {"ref": "main", "deploy": True})
    runner.github["event_name"] = "pull_request"
    assert not starts(runner, deploy, {})


def test_the_form_has_the_fields_that_a_tasks_page_fills_in() -> None:
    task = store.load(ROOT / "catalog").tasks[0]
    settings = Settings()
    fields = RunCommands.of(settings.example.for_task(task), task, settings).fields
    own = (ROOT / ".github" / "workflows" / "evaluate.yml").read_text()
    page = (ROOT / "docs" / "tutorial" / "github.md").read_text()
    (shown,) = [
        each.content
        for each in doc_examples.examples(page)
        if isinstance(each, doc_examples.File) and each.path.endswith("/evaluate.yml")
    ]
    for text in (own, shown):
        assert set(fields) <= set(yaml.safe_load(text)[True]["workflow_dispatch"]["inputs"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"HARNESS": "quickcheck", "VERSION": "1.0.0"}, "version=1.0.0"),
        ({"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "harness-mmath-2.0"}, "image=ghcr.io/team/mmath"),
        ({"HARNESS": "$(touch pwned)", "VERSION": "1"}, None),
        ({"HARNESS": "quickcheck", "VERSION": "1\nfolder=/etc"}, None),
        ({"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "harness-other-1"}, None),
    ],
)
def test_an_image_is_called_as_its_form_or_tag_says(
    runner: Runner, given: dict[str, str], said: str | None, repository: Repository
) -> None:
    step = next(step for step in jobs("images")["image"]["steps"] if step.get("id") == "image")
    shutil.copytree(ROOT / ".github", runner.workspace / ".github")
    runner.environ |= {"OWNER": "Team", **given}
    ran = runner.job({"steps": [{**step, "env": {}}]})
    assert (ran.outcome == "success") is (said is not None)
    if said is not None:
        name, _, value = said.partition("=")
        assert ran.steps["image"]["outputs"][name] == value
