"""The runner of these tests runs steps as GitHub's does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from action.composite import Runner
from services.github_packages import GitHubPackages

pytestmark = pytest.mark.service("node")


@pytest.fixture
def bare(tmp_path: Path, github_packages: GitHubPackages) -> Runner:
    (tmp_path / "work").mkdir()
    return Runner(
        packages=github_packages, folder=tmp_path / "runner", workspace=tmp_path / "work", own=tmp_path
    )


def composite(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    content: dict[str, Any] = yaml.safe_load(text)
    content["runs"]["using"] = "composite"
    (folder / "action.yml").write_text(yaml.safe_dump(content))
    return folder


def test_defaults_outputs_and_conditions(bare: Runner, tmp_path: Path) -> None:
    action = composite(
        tmp_path / "action",
        """
        inputs: {name: {default: "${{ github.repository }}"}, loud: {default: "false"}}
        outputs: {said: {value: "${{ steps.say.outputs.text }}!"}}
        runs:
          steps:
            - id: say
              shell: bash
              env: {NAME: "${{ inputs.name }}"}
              run: echo "text=hello $NAME" >>"$GITHUB_OUTPUT"
            - {if: "inputs.loud == 'true'", id: loud, shell: bash, run: "exit 1"}
            - {if: "${{ inputs.loud != 'true' }}", id: quiet, shell: bash, run: "true"}
        """,
    )
    bare.github["repository"] = "team/evals"
    ran = bare.action(action, {})
    assert ran.outputs == {"said": "hello team/evals!"}
    assert {name: step["outcome"] for name, step in ran.steps.items()} == {
        "say": "success",
        "loud": "skipped",
        "quiet": "success",
    }
    assert bare.action(action, {"name": "you", "loud": "true"}).outcome == "failure"
    with pytest.raises(AssertionError, match="has no inputs"):
        bare.action(action, {"other": "x"})


def test_after_a_failure_only_what_asks_for_it_runs(bare: Runner) -> None:
    job = """
    steps:
      - {id: a, run: "false | true; touch not-reached"}
      - {id: b, run: "true"}
      - {id: c, if: failure(), run: "true"}
      - {id: d, if: always(), run: "true"}
      - {id: e, if: cancelled(), run: "true"}
      - {id: f, if: "success() || inputs.x == 'y'", run: "true"}
    """
    ran = bare.job(yaml.safe_load(job), inputs={"x": "y"})
    assert ran.outcome == "failure"
    assert [step["outcome"] for step in ran.steps.values()] == [
        "failure", "skipped", "success", "success", "skipped", "success",
    ]  # fmt: skip
    assert not (bare.workspace / "not-reached").exists()


def test_what_a_step_leaves_in_its_files_is_there_for_the_next(bare: Runner) -> None:
    job = r"""
    env: {FROM_JOB: job}
    steps:
      - run: |
          mkdir bin; printf '#!/bin/sh\necho found' >bin/tool; chmod +x bin/tool
          echo "$PWD/bin" >>"$GITHUB_PATH"
          printf 'KEPT=1\nLINES<<END\na\nb=c\nEND\n' >>"$GITHUB_ENV"
          echo "# one" >>"$GITHUB_STEP_SUMMARY"
      - id: next
        working-directory: bin
        run: |
          echo "said=$(tool) $KEPT $LINES $FROM_JOB $(basename "$PWD")" | tr '\n' ' ' >>"$GITHUB_OUTPUT"
          echo "# two" >>"$GITHUB_STEP_SUMMARY"
    """
    ran = bare.job(yaml.safe_load(job))
    assert ran.steps["next"]["outputs"]["said"].split() == ["found", "1", "a", "b=c", "job", "bin"]
    assert ran.summary == "# one\n# two\n"


def test_commands_in_a_log_are_seen_until_they_are_stopped(bare: Runner) -> None:
    job = r"""
    steps:
      - run: |
          echo '::error file=a,line=3,title=a%3Ab::first%0Asecond %25'
          echo ' ::set-output name=x::y'
          echo '::stop-commands::token'
          echo '::error::unseen'
          echo '::token::'
          printf 'x\r::warning::after\n##[error]old\n'
    """
    ran = bare.job(yaml.safe_load(job))
    first, second, third = ran.annotations
    assert (first.message, first.properties) == (
        "first\nsecond %",
        {"file": "a", "line": "3", "title": "a:b"},
    )
    assert (second.message, third.message) == ("after", "old")
    assert ran.commands == [" ::set-output name=x::y"]


def test_actions_of_the_workspace_and_of_the_workflows_own_repository(bare: Runner, tmp_path: Path) -> None:
    text = """
    outputs: {path: {value: "${{ steps.x.outputs.path }}"}}
    runs: {steps: [{id: x, shell: bash, run: 'echo "path=$GITHUB_ACTION_PATH" >>"$GITHUB_OUTPUT"'}]}
    """
    composite(bare.workspace / "local", text)
    composite(tmp_path / "mine", text)
    ran = bare.job({"steps": [{"id": "a", "uses": "./local"}, {"id": "b", "uses": "$/mine"}]})
    assert ran.steps["a"]["outputs"]["path"] == str(bare.workspace / "local")
    assert ran.steps["b"]["outputs"]["path"] == str(tmp_path / "mine")


def test_a_cancelled_step_is_asked_twice_and_then_killed(bare: Runner) -> None:
    asked = bare.workspace / "asked"
    bare.cancel = (bare.workspace / "ready").exists
    job = """
    steps:
      - id: a
        run: |
          trap 'echo int >>asked' INT
          trap 'echo term >>asked; exit 0' TERM
          touch ready
          while :; do sleep 0.1; done
      - {id: b, run: "true"}
      - {id: c, if: cancelled(), run: "true"}
    """
    ran = bare.job(yaml.safe_load(job))
    assert ran.outcome == "cancelled"
    assert asked.read_text().split() == ["int", "term"]
    assert [ran.steps[name]["outcome"] for name in ("b", "c")] == ["skipped", "success"]


def test_an_expression_in_a_script_is_refused(bare: Runner) -> None:
    with pytest.raises(AssertionError, match="an expression in a script"):
        bare.job({"steps": [{"run": "echo ${{ inputs.x }}"}]})
