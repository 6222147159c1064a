"""docs/tutorial/github.md from its first file to a leaderboard: a new repository, a registry, containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from action.composite import Runner
from action.conftest import ROOT, Repository
from catalog import __version__
from foundation import doc_examples
from git_commands import git
from services.fixtures import Images
from standins import standin

pytestmark = pytest.mark.service("node", "docker", "registry")
PAGE = ROOT / "docs" / "tutorial" / "github.md"
HOW_TO = ROOT / "docs" / "how-to" / "evaluate-from-github.md"
IMAGE, URL, KEY = "ghcr.io/evaldock/quickcheck:1.0.0", "https://api.example/v1", "MODEL_API_KEY"


@pytest.fixture
def keyed_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A model that answers who has the key."""
    monkeypatch.setenv(KEY, "the-key-of-the-model")
    with standin(tmp_path, "--key-env", KEY) as url:
        yield url


@pytest.fixture
def repository(tmp_path: Path, harness_image: Images, keyed_model: str) -> Repository:
    """The page's files, and nothing else; with an image and a model that are here. In a container, this
    machine's model is reached by its network."""
    git(tmp_path, "init", "--quiet", "--bare", "-b", "main", "upstream.git")
    git(tmp_path, "clone", "--quiet", "upstream.git", "author")
    made = Repository(tmp_path / "upstream.git", tmp_path / "author")
    image = harness_image(ROOT / "catalog" / "harnesses" / "quickcheck")
    for example in doc_examples.examples(PAGE.read_text()):
        assert isinstance(example, doc_examples.File)
        path = made.clone / example.path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = example.content.replace(IMAGE, image).replace(URL, keyed_model)
        path.write_text(text.replace('executor = "docker"', 'executor = "docker"\nnetwork = "host"'))
    made.commit(message="As the page says")
    assert made.files() == [
        ".github/workflows/check.yml",
        ".github/workflows/evaluate.yml",
        ".github/workflows/site.yml",
        "env.toml",
        "mapping.toml",
    ]
    return made


def workflow(repository: Repository, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        (repository.clone / ".github" / "workflows" / f"{name}.yml").read_text()
    )
    return found


def test_a_mapping_alone_gets_a_check_a_site_and_runs(
    repository: Repository, make_runner: Callable[[str], Runner], keyed_model: str
) -> None:
    def machine(name: str) -> Runner:
        made = make_runner(name)
        made.environ["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
        made.secrets = {KEY: "the-key-of-the-model"}
        return made

    checked = machine("check").job(workflow(repository, "check")["jobs"]["check"])
    assert checked.outcome == "success", checked.log

    before = machine("site")
    built = before.job(workflow(repository, "site")["jobs"]["build"])
    assert built.outcome == "success", built.log
    task = "task_catalog/tasks/quickcheck/chat.html"
    assert "leaderboard" not in (before.folder / "artifacts/github-pages" / task).read_text().lower()

    jobs = workflow(repository, "evaluate")["jobs"]
    form = {"task": "quickcheck.chat", "model_id": "org/model", "url": keyed_model, "limit": "4"}
    ran = machine("evaluate").job(jobs["evaluate"], inputs=form)
    assert ran.outcome == "success", ran.log
    (record,) = json.loads(ran.outputs["records"])
    made = json.loads(git(repository.upstream, "show", f"main:{record}"))
    assert (made["backend"], made["limit"], made["metrics"][0]["value"]) == ("docker", 4.0, 1.0)
    assert made["image"].partition("@sha256:")[2]
    assert "the-key-of-the-model" not in ran.log
    needs = {"evaluate": {"outputs": ran.outputs, "result": "success"}}
    assert machine("next").job({"if": jobs["site"]["if"], "steps": []}, needs=needs).outcome == "success"
    assert jobs["site"]["uses"] == "./.github/workflows/site.yml"

    after = machine("site-again")
    assert after.job(workflow(repository, "site")["jobs"]["build"]).outcome == "success"
    assert "org/model" in (after.folder / "artifacts/github-pages" / task).read_text()

    astray = machine("astray").job(jobs["evaluate"], inputs={**form, "url": "https://evil.example/v1"})
    assert astray.outcome == "failure"
    assert KEY in astray.said("error")[0]


@pytest.mark.parametrize("page", [PAGE, HOW_TO], ids=lambda page: str(page.stem))
def test_the_page_names_this_version(page: Path) -> None:
    text = page.read_text()
    assert text.count("uses: evaldock/evaldock/action") == text.count(f"@v{__version__}")


def test_its_workflows_are_workflows(tmp_path: Path) -> None:
    files = [each for each in doc_examples.examples(PAGE.read_text()) if isinstance(each, doc_examples.File)]
    workflows = [each for each in files if each.path.endswith(".yml")]
    assert len(workflows) == 3
    for each in workflows:
        path = tmp_path / Path(each.path).name
        path.write_text(each.content)
        done = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
