"""`action/`: one run, from its inputs to published records, or to a handle for `action/collect`."""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.difference_text import code
from catalog.errors import EvaldockError, UsageError
from catalog.github.api import Repository
from catalog.github.branches import Branch
from catalog.github.workflow_step import Failed, Workflow, say
from launcher.action import extras, results
from launcher.action.inputs import CollectInputs, RunInputs
from launcher.commands.options import database
from launcher.results import reporting
from launcher.runs import open_runs
from launcher.runs import run_directory as files
from launcher.runs.open_runs import Kept

# Seconds: as long as a job on GitHub's runners can last and a little more; until a detached run is started;
# what a detached run may take where nobody says.
WAITING, STARTING, DEADLINE = 6.2 * 3600, 900.0, 7 * 86400.0
# Jobs of these end with the machine that started them, unless it is somebody's own.
_HERE = ("process", "docker", "local")
_ORIGIN = ("GITHUB_ACTIONS", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_RUN_ID")


class Run:
    """One run of the action. `folder` is this invocation's own; `token` may push."""

    def __init__(self, workflow: Workflow, inputs: RunInputs, folder: Path, token: str) -> None:
        self.workflow, self.inputs, self.folder, self.token = workflow, inputs, folder, token
        self.git = workflow.git(token)
        self.holder = secrets.token_hex(8)

    def go(self) -> int:
        root = self.workflow.catalog(self.inputs.catalog)
        self._check(root)
        self.workflow.prepare(root)
        planned = self._plan(root)
        run_id, directory = str(planned["run"]), Path(planned["directory"])
        self._check_lasting(planned["backend"])
        extras.ensure(self.workflow, planned["backend"])
        self.workflow.output("run-id", run_id)
        self.workflow.output("results-path", str(directory))
        outlasts = planned["backend"] not in _HERE and self.inputs.publish != "none"
        kept = self._kept(root) if self.inputs.detach or outlasts else None
        if kept is not None:
            # Nothing is submitted before somebody else could find it again.
            seconds = STARTING if self.inputs.detach else WAITING
            held = dataclasses.replace(kept, holder=self.holder, until=time.time() + seconds)
            open_runs.keep(self._runs(), run_id, directory / files.HANDLE, held)
        rows = self._start(run_id)
        if kept is not None and self.inputs.detach:
            return self._leave(run_id, directory, kept, rows)
        worked = self._wait(run_id)
        told = self._end(run_id, root)
        if kept is not None:
            self._close(run_id)
        return told or (0 if worked else 1)

    def _check(self, root: Path) -> None:
        """What would only come out when hours have been spent."""
        if self.inputs.publish == "pull-request":
            Repository.of(self.workflow.environ, self.token)
        if self.inputs.publish == "none" and not self.inputs.detach:
            return
        if not root.resolve().is_relative_to(self.workflow.workspace.resolve()):
            raise UsageError("the catalog lies outside of the repository, which can't take its results")
        if self.inputs.publish != "none":
            Branch(clone=self.workflow.workspace, name=self.inputs.branch, environ=self.git).check()

    def _check_lasting(self, backend: str) -> None:
        """A profile or a configuration may have chosen a backend that no input names."""
        hosted = self.workflow.environ.get("RUNNER_ENVIRONMENT") == "github-hosted"
        if self.inputs.detach and hosted and backend in _HERE:
            raise UsageError(
                f"mode: jobs on {backend} end with the runner", hint="detach needs a backend that outlasts it"
            )

    def _plan(self, root: Path) -> dict[str, Any]:
        with self.workflow.group("Plan the run"):
            done = self.workflow.evaldock(*arguments(self.inputs, root, self.folder / "runs"))
        planned: dict[str, Any] = Failed.unless(done).data
        return planned

    def _kept(self, root: Path) -> Kept:
        environ = self.workflow.environ
        return Kept(
            catalog=self._folder(root),
            publish=self.inputs.publish,
            branch=self.inputs.branch,
            partial=self.inputs.partial,
            minimums=self.inputs.minimums,
            baseline=self.inputs.baseline,
            deadline=self.inputs.deadline or DEADLINE,
            origin={name: environ[name] for name in _ORIGIN if name in environ},
        )

    def _folder(self, root: Path) -> str:
        return os.path.relpath(root.resolve(), self.workflow.workspace.resolve())

    def _runs(self) -> Branch:
        return runs_branch(self.workflow, self.inputs.runs_branch, self.git)

    def _start(self, run_id: str) -> list[dict[str, Any]]:
        with self.workflow.group("Start the jobs"):
            done = self.workflow.evaldock("tick", run_id, "--json")
        rows: list[dict[str, Any]] = Failed.unless(done).data
        waiting = [row for row in rows if row["state"] == "planned" and row["reason"]]
        if waiting and not self.inputs.detach and all(row["state"] == "planned" for row in rows):
            # Waiting would look like working.
            self.workflow.evaldock("kill", run_id, "--no-wait")
            raise Failed(f"nothing was started: {waiting[0]['reason']}", 4)
        return rows

    def _leave(self, run_id: str, directory: Path, kept: Kept, rows: Sequence[Mapping[str, Any]]) -> int:
        try:
            open_runs.keep(self._runs(), run_id, directory / files.HANDLE, kept)
        except EvaldockError as error:
            self.workflow.warning(
                "the run goes on, but what was learnt when it started could not be saved; "
                f"`collect` will ask the backend for it: {error}"
            )
        for row in rows:
            if row["state"] == "planned" and row["reason"]:
                self.workflow.warning(f"{row['task']} has not been started yet: {row['reason']}")
        self.workflow.output("state", "running")
        self.workflow.summary(
            f"### Run {code(run_id)} goes on\n\n{len(rows)} jobs were handed over. Its handle is on the "
            f"branch {code(self.inputs.runs_branch)}, from where `action/collect` goes on."
        )
        return 0

    def _wait(self, run_id: str) -> bool:
        with self.workflow.group("Wait for the jobs"):
            done = self.workflow.evaldock("tick", run_id, "--loop", "--json")
        return all(row["state"] == "succeeded" for row in Failed.unless(done).data)

    def _end(self, run_id: str, root: Path) -> int:
        """The exit code of what went wrong beside the jobs."""
        environ = self.workflow.environ
        gate = results.gated(self.workflow, run_id, root, self.inputs.minimums, self.inputs.baseline)
        to = results.Destination(
            how=self.inputs.publish,
            branch=Branch(clone=self.workflow.workspace, name=self.inputs.branch, environ=self.git),
            catalog=self._folder(root),
            partial=self.inputs.partial,
            token=self.token,
        )
        with database() as opened:
            told = reporting.report(opened, run_id, root, environ)
            published = results.publish(opened, run_id, root, to, environ)
        results.tell(self.workflow, told, gate, published)
        return gate.code or (published.error.exit_code if published.error else 0)

    def _close(self, run_id: str) -> None:
        try:
            open_runs.close(self._runs(), run_id)
        except EvaldockError as error:
            self.workflow.warning(f"the run's handle could not be closed; `collect` will do it: {error}")


def runs_branch(workflow: Workflow, name: str, git: Mapping[str, str]) -> Branch:
    return Branch(clone=workflow.workspace, name=name, history=False, environ=git)


def arguments(inputs: RunInputs, root: Path, output: Path) -> list[str]:
    """Of `evaldock run`. An option and its value are one argument, and tasks come after `--`: nothing that
    stands in an input can become another option."""
    made = ["run", "--hold", "--json", f"--output-dir={output}", f"--catalog={root}"]
    made += [f"--model-id={model}" for model in inputs.models]
    named = {
        "url": inputs.url,
        "api-key-name": inputs.key_name,
        "backend": inputs.backend,
        "limit": inputs.limit,
        "profile": inputs.profile,
    }
    made += [f"--{name}={value}" for name, value in named.items() if value]
    if inputs.config is not None:
        made += [f"--config-dir={inputs.config.parent}", f"--config-name={inputs.config.name}"]
    made += [f"--override={line}" for line in inputs.overrides]
    if inputs.deadline is not None:
        made.append(f"--override=execution.deadline={inputs.deadline:g}")
    return [*made, "--", *inputs.tasks]


def stop(workflow: Workflow, inputs: CollectInputs, token: str) -> int:
    """Ends what the cancelled step has started. What can't be ended in time is left to `collect`."""
    runs = runs_branch(workflow, inputs.runs_branch, workflow.git(token))
    with database() as opened:
        going = opened.open_runs()
    for run_id in going:
        with workflow.group(f"Cancel {run_id}"):
            done = workflow.evaldock("kill", run_id)
            say(done.out)
        if done.code == 0:
            open_runs.close(runs, run_id)
    return 0
