"""What becomes of a run that has ended: its gate, its records, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from catalog.console import one_line
from catalog.difference_text import code
from catalog.errors import EvaldockError, Refused
from catalog.github.api import Repository
from catalog.github.branches import Branch
from catalog.github.workflow_step import Workflow, problem, say
from launcher.results import report_text, reporting, sending
from launcher.results.recording import records_of
from launcher.results.reporting import RunReport
from launcher.runs.database import Database

SUMMARY_BYTES = 900_000
SCORES_BYTES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`code` is that of `evaldock gate`: 0 open, 1 closed; `checks` as its JSON has them."""

    code: int = 0
    checks: Sequence[Mapping[str, Any]] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`files` are records, relative to the repository. `error` says why there are none."""

    files: tuple[str, ...] = ()
    branch: str = ""
    url: str | None = None
    error: EvaldockError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where records go: `how` is none, commit or pull-request."""

    how: str
    branch: Branch
    catalog: str
    partial: bool
    token: str


def gated(workflow: Workflow, run_id: str, root: Path, minimums: Sequence[str], baseline: str) -> Gate:
    if not minimums and not baseline:
        return Gate()
    conditions = [f"--min={text}" for text in minimums]
    conditions += [f"--no-worse-than={baseline}"] if baseline else []
    with workflow.group("Hold the scores against the gate"):
        done = workflow.evaldock("gate", run_id, "--catalog", str(root), "--json", *conditions)
    if done.code > 1 or not done.out:
        return Gate(code=done.code or 1, error=problem(done.said))
    return Gate(code=done.code, checks=done.data["checks"])


def publish(
    opened: Database, run_id: str, root: Path, to: Destination, environ: Mapping[str, str]
) -> Published:
    """`environ` says who ran it. A failed job keeps all of a run's records back, unless partial ones go."""
    if to.how == "none":
        return Published()
    made, refused = records_of(opened, run_id, environ=environ, partial=to.partial)
    if refused and not (to.partial and made):
        return Published(
            error=Refused(
                f"nothing was published: {len(refused)} jobs have no results: {refused[0].message}",
                hint="`partial: true` publishes what the others left",
            )
        )
    try:
        if to.how == "commit":
            sent = sending.to_branch(root, to.catalog, made, to.branch)
        else:
            github = Repository.of(environ, to.token)
            head = f"evaldock/results-{run_id}"
            sent = sending.as_pull_request(root, to.catalog, made, to.branch, head=head, github=github)
    except EvaldockError as error:
        return Published(error=error)
    return Published(files=sent.files, branch=to.branch.name, url=sent.url)


def tell(workflow: Workflow, told: RunReport, gate: Gate, published: Published) -> None:
    """Outputs, summary and annotations of one run that has ended."""
    workflow.output("state", told.state)
    workflow.output("scores", scores(told))
    workflow.output("records", json.dumps(published.files))
    workflow.output("pull-request", published.url or "")
    if lines := report_text.as_annotations([told]):
        say(lines)
    for check in gate.checks:
        if not check["passed"]:
            name = f"{check['task']} of {check['model']}"
            workflow.error(f"{name}: {check['says']}", title="the gate is closed")
    if gate.error:
        workflow.error(gate.error, title="the gate can't be judged")
    if published.error is not None:
        workflow.error(str(published.error), title="evaldock: not published")
    text = report_text.as_markdown([told], limit=SUMMARY_BYTES)
    workflow.summary(text + _gate_text(gate) + _published_text(workflow.environ, published))


def scores(told: RunReport) -> str:
    """JSON: each job with all its metrics, or only the first one where that is too much for an output."""
    jobs = reporting.report_data(told)["jobs"]
    picked = [
        {name: job[name] for name in ("task", "model", "metric", "value", "metrics") if name in job}
        for job in jobs
        if "value" in job
    ]
    text = json.dumps(picked)
    if len(text) > SCORES_BYTES:
        text = json.dumps([{k: v for k, v in job.items() if k != "metrics"} for job in picked])
    return text if len(text) <= SCORES_BYTES else "[]"


def _gate_text(gate: Gate) -> str:
    if not gate.checks:
        return ""
    lines = [
        f"| {'open' if check['passed'] else '**closed**'} | {_cell(check['task'])} | {_cell(check['model'])} "
        f"| {_cell(check['says'])} |"
        for check in gate.checks[:200]
    ]
    return "\n\n| gate | task | model | |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"


def _published_text(environ: Mapping[str, str], published: Published) -> str:
    if published.error is not None:
        return f"\n\nNot published: {code(published.error.message[:1000])}\n"
    if published.url:
        return f"\n\nProposed as a [pull request](<{published.url}>).\n"
    listed = "".join(f"- {_link(environ, published.branch, path)}\n" for path in published.files[:100])
    return f"\n\nPublished:\n\n{listed}" if listed else ""


def _link(environ: Mapping[str, str], branch: str, path: str) -> str:
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    if not (server and repository):
        return code(path)
    return f"[{code(path)}](<{server}/{repository}/blob/{quote(branch)}/{quote(path)}>)"


def _cell(text: str) -> str:
    return code(one_line(text)[:300]).replace("|", "\\|")
