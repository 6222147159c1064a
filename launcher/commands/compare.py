"""`evaldock compare` and `evaldock gate`: what results are worth beside others."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from catalog import comparison
from catalog.comparison import Comparison, Row, SampleReader, row_data, verdict
from catalog.console import catalog_option, green, json_option, out, print_json, red, width
from catalog.errors import EvaldockError, NotFound, UsageError
from catalog.record_files import Published, load_all, read
from catalog.store import find_root
from catalog.tables import Column, table
from launcher.jobs import State
from launcher.results import gating
from launcher.results.gating import Check


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--all-metrics", is_flag=True, help="Every metric, not only each task's first.")
@catalog_option
@json_option
def compare(*, first: str, second: str, all_metrics: bool, catalog_dir: Path | None, as_json: bool) -> None:
    """Compare two models, published runs or record files over the tasks that both have.

    The difference is SECOND minus FIRST, with its 95 % interval and whether it could be chance; paired where
    scores per sample were published.

    \b
    Examples:
      evaldock compare org/model-a org/model-b
      evaldock compare 0mg4a1b2c3d4e5f6 0mh1a1b2c3d4e5f6 --json
    """
    root = find_root(catalog_dir)
    published, _ = load_all(root)
    left, right = (_side(root, published, name) for name in (first, second))
    found = comparison.compare(left, right, comparison.samples_in(root))
    rows = [row for row in found.rows if all_metrics or _is_first(found, row)]
    if as_json:
        print_json(_data(found, rows))
    elif rows:
        out(_table(rows))
    for name, tasks in ((first, found.only_first), (second, found.only_second)):
        if tasks and not as_json:
            out(f"only {name}: {', '.join(tasks)}")
    if not found.rows:
        raise NotFound(f"no task has results of both {first!r} and {second!r}")


@click.command()
@click.argument("run")
@click.option(
    "--min", "minimums", multiple=True, metavar="[TASK/METRIC=]VALUE", help="Least value; can be repeated."
)
@click.option(
    "--no-worse-than", "baseline", metavar="RECORD|MODEL|RUN", help="A published result to hold against."
)
@catalog_option
@json_option
def gate(
    *, run: str, minimums: tuple[str, ...], baseline: str | None, catalog_dir: Path | None, as_json: bool
) -> int:
    """Say by exit code whether a run's scores are good enough.

    --min holds each task's first metric (or the one named) against a value. --no-worse-than fails where a
    score is worse than the newest baseline of the same question by more than chance explains. A job that did
    not succeed closes the gate too. Exit code 1: the gate is closed.

    \b
    Examples:
      evaldock gate 0mg4 --min 0.9
      evaldock gate 0mg4 --min quickcheck.chat/accuracy=0.95 --no-worse-than org/model-a
    """
    if not minimums and baseline is None:
        raise UsageError("nothing to hold the run against", hint="give --min or --no-worse-than")
    root = find_root(catalog_dir)
    mine, samples, checks = _of_run(root, run)
    for text in minimums:
        checks += gating.minimum(mine, text)
    if baseline is not None:
        published, _ = load_all(root)
        base = _from_file(root, baseline) or _named(published, baseline)
        checks += gating.no_worse(mine, base, baseline, samples)
    passed = all(check.passed for check in checks)
    if as_json:
        print_json({"passed": passed, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        for check in checks:
            mark = green("ok  ") if check.passed else red("FAIL")
            metric = f" {check.metric}" if check.metric else ""
            out(f"{mark} {check.task}{metric} of {check.model}: {check.says}")
    return 0 if passed else 1


def _of_run(root: Path, run: str) -> tuple[list[Published], SampleReader, list[Check]]:
    """The run's results, their scores per sample, and a closed check for each job without results. From the
    database where it knows the run, else as they were published."""
    from launcher.commands.options import database, resolve  # noqa: PLC0415
    from launcher.results.recording import record_of  # noqa: PLC0415

    made: list[Published] = []
    samples: dict[str, Mapping[str, float]] = {}
    missing: list[Check] = []
    with database() as opened:
        try:
            (run_id,) = resolve(opened, [run])
        except NotFound:
            published, _ = load_all(root)
            return _named(published, run), comparison.samples_in(root), []
        plan = opened.plan(run_id)
        jobs = {job.key: job for job in plan.jobs}
        for row in opened.jobs(run_id):
            if jobs[row.key].kind != "evaluation":
                if row.state is not State.SUCCEEDED:
                    says = f"it is {row.state}"
                    missing.append(Check(task=row.task, model="", metric=None, passed=False, says=says))
                continue
            try:
                record, samples[row.key] = record_of(plan, jobs[row.key], row, environ=os.environ)
            except EvaldockError as error:
                says = error.message.splitlines()[0]
                check = Check(task=row.task, model=row.model, metric=None, passed=False, says=says)
                missing.append(check)
                continue
            made.append(Published(record, Path(record.run)))
    others = comparison.samples_in(root)
    return made, lambda one: samples.get(one.record.run) or others(one), missing


def _side(root: Path, published: Sequence[Published], name: str) -> list[Published]:
    """One side of a comparison: the newest result of each task."""
    found = _from_file(root, name) or _named(published, name)
    models = sorted({one.record.model for one in found})
    if len(models) > 1:
        raise UsageError(
            f"{name!r} has results of several models: {', '.join(models[:10])}",
            hint="name a model, or one of its jobs (RUN-000)",
        )
    return comparison.newest(found)


def _from_file(root: Path, name: str) -> list[Published]:
    if not (name.endswith(".json") and Path(name).is_file()):
        return []
    file = Path(name).resolve()
    inside = file.is_relative_to(root.resolve())
    return [Published(read(file), file.relative_to(root.resolve()) if inside else file)]


def _named(published: Sequence[Published], name: str) -> list[Published]:
    found = comparison.of_model(published, name) or comparison.of_run(published, name)
    if not found:
        models = sorted({one.record.model for one in published})
        raise NotFound(
            f"no published result of a model or run {name!r}",
            hint=f"there are results of: {', '.join(models[:10]) or 'nobody yet'}",
        )
    return found


def _is_first(found: Comparison, row: Row) -> bool:
    return next(each for each in found.rows if each.task == row.task) is row


def _data(found: Comparison, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "rows": [row_data(row) for row in rows],
        "only_first": list(found.only_first),
        "only_second": list(found.only_second),
    }


def _table(rows: Sequence[Row]) -> str:
    columns = (
        Column("task"),
        Column("metric", flexible=True),
        Column("first", right=True),
        Column("second", right=True),
        Column("difference", right=True),
        Column("95 %", right=True),
        Column(""),
    )
    lines = []
    for row in rows:
        low, high = row.difference.low, row.difference.high
        between = f"{low:+.4f} … {high:+.4f}" if low is not None and high is not None else "unknown"
        values = (f"{row.first.value:.4f}", f"{row.second.value:.4f}", f"{row.difference.value:+.4f}")
        lines.append((row.task, row.metric, *values, between, verdict(row)))
    return table(columns, lines, width=width())
