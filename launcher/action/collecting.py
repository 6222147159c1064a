"""`action/collect`: one round of looking after every run that was left open.

Each is adopted from its handle and given one round; what has ended is judged, published and closed. A run
that can't be looked after now is free again for the next round. Two collectors share the runs between them.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.difference_text import code
from catalog.errors import EvaldockError
from catalog.github.branches import Branch
from catalog.github.workflow_step import Failed, Workflow, say
from launcher.action import extras, results
from launcher.action.inputs import CollectInputs
from launcher.action.running import runs_branch
from launcher.commands.options import database
from launcher.results import reporting
from launcher.runs import open_runs
from launcher.runs import run_directory as files
from launcher.runs.judging import finished
from launcher.runs.open_runs import OpenRun

# How long nobody else looks after the runs of one who vanished in the middle of it, in seconds.
HELD = 3600.0


@dataclass(slots=True)
class _Round:
    """What came of it. `again` are handles of runs that go on, `worst` the worst exit code."""

    again: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    records: list[str] = field(default_factory=list)
    worst: int = 0


class Collector:
    def __init__(self, workflow: Workflow, inputs: CollectInputs, folder: Path, token: str) -> None:
        self.workflow, self.folder, self.token = workflow, folder / "runs", token
        self.git = workflow.git(token)
        self.branch = runs_branch(workflow, inputs.runs_branch, self.git)
        self.holder = secrets.token_hex(8)

    def go(self) -> int:
        runs, problems = open_runs.hold(self.branch, self.holder, HELD)
        for line in problems:
            self.workflow.warning(line)
        done = _Round()
        try:
            for run in runs:
                self._look_after(run, done)
        finally:
            # Also where this is interrupted: the others needn't wait until the hold ends.
            untouched = {
                run.run_id: run.handle for run in runs if run.run_id not in done.closed | set(done.again)
            }
            open_runs.settle(self.branch, self.holder, again={**untouched, **done.again}, closed=done.closed)
        self._tell(runs, done)
        return done.worst

    def _look_after(self, run: OpenRun, done: _Round) -> None:
        try:
            ended = self._round(run)
            if ended:
                done.worst = max(done.worst, self._end(run, done))
                done.closed.add(run.run_id)
            else:
                done.again[run.run_id] = files.read_handle(self._handle(run)) or run.handle
        except (EvaldockError, OSError) as error:
            self.workflow.error(str(error), title=f"run {run.run_id} is left to the next time")
            done.worst = max(done.worst, 1)

    def _round(self, run: OpenRun) -> bool:
        """Whether everything in it has ended and is here."""
        extras.ensure(self.workflow, str(run.handle["plan"]["backend"]))
        handle = self._handle(run)
        if not handle.exists():
            run.write(self.folder)
        late = run.kept.deadline is not None and time.time() - run.created > run.kept.deadline
        with self.workflow.group(f"Look after {run.run_id}"):
            adopted = self.workflow.evaldock("adopt", str(handle))
            say(adopted.out)
            Failed.unless(adopted)
            if run.kept.cancelled or late:
                self.workflow.evaldock("kill", run.run_id, "--no-wait")
                say(self.workflow.evaldock("tick", run.run_id).out)
        if late:
            self.workflow.error(f"run {run.run_id} has passed its deadline and is stopped", title="evaldock")
        with database() as opened:
            return finished(opened.jobs(run.run_id))

    def _handle(self, run: OpenRun) -> Path:
        """Where it was begun, if that is this very machine: its jobs may be known by their folders alone."""
        begun = Path(str(run.handle["plan"]["directory"])) / files.HANDLE
        there = files.read_handle(begun)
        if there is not None and (there.get("plan") or {}).get("run_id") == run.run_id:
            return begun
        return self.folder / run.run_id / files.HANDLE

    def _end(self, run: OpenRun, done: _Round) -> int:
        kept = run.kept
        root = self.workflow.catalog(self.workflow.workspace / kept.catalog)
        self.workflow.prepare(root)
        gate = results.gated(self.workflow, run.run_id, root, kept.minimums, kept.baseline)
        to = results.Destination(
            how=kept.publish,
            branch=Branch(clone=self.workflow.workspace, name=kept.branch, environ=self.git),
            catalog=kept.catalog,
            partial=kept.partial,
            token=self.token,
        )
        # The workflow that began it made the results, whoever collects them.
        environ = {**self.workflow.environ, **kept.origin}
        with database() as opened:
            told = reporting.report(opened, run.run_id, root, environ)
            published = results.publish(opened, run.run_id, root, to, environ)
        results.tell(self.workflow, told, gate, published)
        if published.error is not None and told.state == "succeeded":
            # Its results are still where it ran: the next round may have more luck.
            raise published.error
        done.records += published.files
        return gate.code or (0 if told.state == "succeeded" else 1)

    def _tell(self, runs: list[OpenRun], done: _Round) -> None:
        self.workflow.output("closed", json.dumps(sorted(done.closed)))
        self.workflow.output(
            "open", json.dumps(sorted(run.run_id for run in runs if run.run_id not in done.closed))
        )
        self.workflow.output("records", json.dumps(done.records))
        self.workflow.output("results-path", str(self.folder))
        going = "".join(f"- {code(run_id)} goes on\n" for run_id in sorted(done.again))
        self.workflow.summary(f"Looked after {len(runs)} runs, closed {len(done.closed)}.\n\n{going}")
