"""From a job that has ended to the record that is published."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog import __version__
from catalog.errors import EvaldockError, Refused
from catalog.records import Metric, Record, number
from launcher.jobs import JobPlan, RunPlan, State
from launcher.results import results_file
from launcher.runs import run_directory as files
from launcher.runs.database import Database, JobRow

SAMPLES = "workflow_output.json"
MAX_SAMPLES_BYTES = 64 << 20


def record_of(
    plan: RunPlan, job: JobPlan, row: JobRow, *, environ: Mapping[str, str], partial: bool = False
) -> tuple[Record, dict[str, float]]:
    """The record, and scores per sample where the harness left them.

    Raises Refused for a job that has not succeeded (unless `partial` results are wanted and it has ended),
    and what `results_file.read` raises.
    """
    folder = Path(plan.directory) / job.directory
    succeeded = row.state is State.SUCCEEDED
    if not succeeded and not (partial and row.state.terminal):
        raise Refused(
            f"{row.key} ({row.task}) has not succeeded: it is {row.state}",
            hint="--partial publishes what a job that ended left, marked as partial",
        )
    artifacts = folder / files.ARTIFACTS
    results = results_file.read(artifacts)
    harness, _, task = job.task.partition(".")
    ended = files.read_exit(folder)
    config = job.config.get("config") or {}
    params = config.get("params") or {}
    limit = params.get("limit_samples")
    record = Record(
        harness=job.harness,
        task=job.task.removeprefix(f"{job.harness}.")
        if job.task.startswith(f"{job.harness}.")
        else task or harness,
        model=job.endpoint.model_id,
        # Whole results of a later attempt have a name of their own.
        run=row.key if succeeded else f"{row.key}-attempt-{row.attempt}",
        task_sha=job.task_sha,
        params_sha=job.params_sha,
        metrics=results.metrics,
        endpoint_type=job.endpoint.type,
        params=params,
        overrides=_public(job.overrides),
        image=job.image,
        packages=job.packages,
        limit=float(limit) if limit is not None else None,
        partial=not succeeded,
        started=_started(plan, job),
        ended=ended.ended if ended else None,
        backend=plan.backend,
        versions=_versions(folder, results.git_hash),
        origin=_origin(environ),
    )
    return record, _samples(artifacts / SAMPLES, record.metrics)


def records_of(
    opened: Database, run_id: str, *, environ: Mapping[str, str], partial: bool = False
) -> tuple[list[tuple[Record, dict[str, float]]], list[EvaldockError]]:
    """What the run's jobs left to be published, and why the others left nothing."""
    plan = opened.plan(run_id)
    jobs = {job.key: job for job in plan.jobs}
    made: list[tuple[Record, dict[str, float]]] = []
    refused: list[EvaldockError] = []
    for row in opened.jobs(run_id):
        if jobs[row.key].kind != "evaluation":
            continue
        try:
            made.append(record_of(plan, jobs[row.key], row, environ=environ, partial=partial))
        except EvaldockError as error:
            refused.append(error)
    return made, refused


def _started(plan: RunPlan, job: JobPlan) -> str | None:
    """When the first of its parts began, where it had any."""
    root = Path(plan.directory)
    parts = [job.directory, *job.inputs.values()]
    times = [said.started for each in parts if (said := files.read_exit(root / each)) and said.started]
    return min(times, default=None)


def _public(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides without the endpoint: its address may be private, and says nothing about the score."""
    return {key: value for key, value in overrides.items() if key != "target"}


def _versions(folder: Path, git_hash: str | None) -> dict[str, str]:
    versions = {"evaldock": __version__}
    packages = files.read_json(folder / "packages.json") or {}
    versions |= {str(name): str(version) for name, version in packages.items()}
    if git_hash:
        versions["harness revision"] = git_hash
    return versions


def _origin(environ: Mapping[str, str]) -> dict[str, str]:
    """Who ran it: a workflow by its address, or somebody's shell (and nothing of whose)."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return {"kind": "shell"}
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    return {
        "kind": "workflow",
        "repository": repository,
        "revision": environ.get("GITHUB_SHA", ""),
        "url": f"{server}/{repository}/actions/runs/{environ.get('GITHUB_RUN_ID', '')}",
    }


def _samples(path: Path, metrics: Sequence[Metric]) -> dict[str, float]:
    """`id` and `score` of each item; an item without a reply counts 0, as in the metric."""
    try:
        with files.open_file(path) as file:
            data = file.read(MAX_SAMPLES_BYTES + 1)
        items = json.loads(data) if len(data) <= MAX_SAMPLES_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    scores: dict[str, float] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            score = 0.0 if item.get("error") else number(item.get("score"))
            if score is not None:
                scores[item["id"]] = score
    return scores if metrics else {}
