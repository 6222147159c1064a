"""The inputs of the actions, read from their variables and checked all at once, before anything happens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.github.workflow_inputs import Inputs
from catalog.github.workflow_step import Workflow
from launcher.commands.options import seconds
from launcher.runs import open_runs

PUBLISH = ("none", "commit", "pull-request")
# Neither an option nor an override, and no recipe's file.
_TASK = re.compile(r"(?!-)(?!.*\.py$)[^=\s/]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    tasks: tuple[str, ...]
    config: Path | None
    profile: str
    models: tuple[str, ...]
    url: str
    key_name: str
    overrides: tuple[str, ...]
    backend: str
    limit: str
    catalog: Path | None
    detach: bool
    deadline: float | None
    publish: str
    branch: str
    partial: bool
    runs_branch: str
    minimums: tuple[str, ...]
    baseline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectInputs:
    runs_branch: str


def read_run(workflow: Workflow) -> RunInputs:
    """Raises InvalidInput with everything that is wrong."""
    environ = workflow.environ
    read = Inputs(environ, workflow.workspace)
    made = RunInputs(
        tasks=read.words("tasks"),
        config=read.path("config"),
        profile=read.text("profile"),
        models=read.lines("model-id"),
        url=read.text("url"),
        key_name=read.text("api-key-name"),
        overrides=read.lines("overrides"),
        backend=read.text("backend"),
        limit=read.text("limit"),
        catalog=read.path("catalog"),
        detach=read.choice("mode", ("wait", "detach")) == "detach",
        deadline=read.parsed("deadline", seconds),
        publish=read.choice("publish", PUBLISH),
        branch=read.branch("branch", _own_branch(environ))
        if read.text("publish") not in ("", "none")
        else "",
        partial=read.flag("partial"),
        runs_branch=read.branch("runs-branch", open_runs.BRANCH),
        minimums=read.lines("gate"),
        baseline=read.text("no-worse-than"),
    )
    _check(made, environ, read.problems)
    read.done()
    return made


def read_collect(workflow: Workflow) -> CollectInputs:
    """Raises InvalidInput with everything that is wrong."""
    read = Inputs(workflow.environ, workflow.workspace)
    made = CollectInputs(runs_branch=read.branch("runs-branch", open_runs.BRANCH))
    read.done()
    return made


def _own_branch(environ: Mapping[str, str]) -> str:
    """Of the workflow; a tag or a pull request has none to publish to."""
    return environ.get("GITHUB_REF_NAME", "") if environ.get("GITHUB_REF_TYPE") == "branch" else ""


def _check(made: RunInputs, environ: Mapping[str, str], problems: list[str]) -> None:
    if not made.tasks and made.config is None:
        problems.append("tasks: nothing to run; name tasks, or a configuration with `config`")
    problems += [
        f"tasks: not a task's name: {task!r:.80}" for task in made.tasks if not _TASK.fullmatch(task)
    ]
    if made.key_name and not _NAME.fullmatch(made.key_name):
        # Not repeated: it may be the key itself.
        problems.append("api-key-name: expected the name of a variable, never the key")
    elif made.key_name and not environ.get(made.key_name):
        problems.append(
            f"api-key-name: the variable {made.key_name} is empty; "
            f"give it to the step: `env: {{{made.key_name}: ${{{{ secrets.{made.key_name} }}}}}}`"
        )
    if made.limit:
        try:
            float(made.limit)
        except ValueError:
            problems.append(f"limit: expected a number, got {made.limit!r:.80}")
    problems += [
        f"overrides: expected KEY=VALUE, got {line!r:.80}"
        for line in made.overrides
        if "=" not in line or line.startswith(("-", "="))
    ]
    if made.config is not None and not made.config.is_file():
        problems.append(f"config: no such file: {str(made.config)!r:.200}")
