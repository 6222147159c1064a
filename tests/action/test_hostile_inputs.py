"""What an input can't do: run, become an option, another output, a variable or a command to the runner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from action.composite import Runner
from action.conftest import ACTION, Repository
from action.workflow_log import Ran

pytestmark = pytest.mark.service("node")

# Each tries to leave a file `pwned`, to set something, or to speak to the runner.
LINE = (
    "$(touch pwned)`touch pwned`\"; touch pwned; '; touch pwned; \\ ]]>}} ${{ github.token }} | <script> "
    "::set-output name=run-id::pwned%0A::error::pwned ##[error]pwned ##vso[task.x]"
)
LINES = "x\ntouch pwned\n::error::pwned\n::set-output name=run-id::pwned\nrun-id=pwned\nEOF\n$(touch pwned)"
HOSTILE = {
    "line": LINE,
    "lines": LINES,
    "option": "--help",
    "path": "../../../../etc/passwd",
    "control": "\x1b[2J\u202epwned\x07",
    "overlong": "x" * 100_000,
}
ACTIONS = {"run": ACTION, "check": ACTION / "check", "collect": ACTION / "collect", "site": ACTION / "site"}
SOUND = {"tasks": "quickcheck.chat", "model-id": "m", "url": "http://127.0.0.1:9/v1", "backend": "process"}


def names(action: str) -> list[str]:
    given: dict[str, Any] = yaml.safe_load((ACTIONS[action] / "action.yml").read_text())
    return list(given["inputs"])


def unharmed(runner: Runner, repository: Repository, ran: Ran) -> None:
    """Whatever the step did with it."""
    assert not list(runner.folder.parent.rglob("pwned")), ran.log
    assert ran.commands == []
    assert not [each for each in ran.annotations if each.message == "pwned"]
    assert not [name for name in ran.outputs if "pwned" in name]
    assert "pwned" not in ran.environ
    # The step itself made of it what it made; the only outputs are those that it has.
    assert "pwned" not in (ran.outputs.get("run-id"), ran.outputs.get("state"))
    assert repository.log() == ["A catalog"]
    assert "\x1b" not in ran.summary


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("action", ACTIONS)
def test_all_inputs_at_once(
    action: str, kind: str, runner: Runner, repository: Repository, tmp_path: Path
) -> None:
    # A version that is none ends everything before the others are read.
    given = dict.fromkeys(set(names(action)) - {"version"}, HOSTILE[kind])
    ran = runner.action(ACTIONS[action], given)
    assert ran.outcome == "failure"
    assert ran.steps["install"]["outcome"] == "success"
    unharmed(runner, repository, ran)


@pytest.mark.parametrize("name", [name for name in names("run") if name not in ("version", "cache")])
def test_each_input_of_a_run_among_sound_ones(
    name: str, runner: Runner, repository: Repository, tmp_path: Path
) -> None:
    """Alone, each gets past the others' checks; without the model there is no run."""
    text = f"{LINES}\n{LINE}" if name in ("tasks", "model-id", "overrides", "gate") else LINE
    ran = runner.action(ACTION, {**SOUND, "profile": "none", name: text})
    assert ran.outcome == "failure", ran.log
    unharmed(runner, repository, ran)


def test_a_version_is_a_version(runner: Runner, repository: Repository) -> None:
    for action, text in zip(
        ACTIONS.values(), (LINE, LINES, "--help", "1.0 --index-url=http://x"), strict=True
    ):
        ran = runner.action(action, {"version": text})
        assert ran.outcome == "failure"
        assert ran.said("error") == ["the input `version` is no version"]
        unharmed(runner, repository, ran)


def test_conditions_that_are_none_close_the_gate(runner: Runner, repository: Repository, model: str) -> None:
    given = {**SOUND, "url": model, "limit": "1"}
    for wrong in ({"gate": LINE}, {"no-worse-than": LINE}):
        ran = runner.action(ACTION, {**given, **wrong})
        assert ran.outcome == "failure"
        assert [each.properties["title"] for each in ran.annotations] == ["the gate can't be judged"]
        unharmed(runner, repository, ran)


def test_a_model_by_any_name_is_only_a_name(
    make_runner: Callable[[str], Runner], repository: Repository, model: str
) -> None:
    runner = make_runner("odd")
    name = "$(touch pwned)`touch pwned`|\"';::error::pwned##[error]x]]> --help"
    given = {**SOUND, "url": model, "model-id": name, "limit": "1", "publish": "commit"}
    ran = runner.action(ACTION, given)
    assert ran.outcome == "success", ran.log
    assert not list(runner.folder.parent.rglob("pwned"))
    assert (ran.annotations, ran.commands) == ([], [])
    assert ran.outputs["scores"].count("touch pwned") == 2
    assert len([name for name in repository.files() if name.endswith("-000.json")]) == 1
    row = next(line for line in ran.summary.splitlines() if line.startswith("| `quickcheck.chat`"))
    assert row.count("|") - row.count("\\|") == 8
