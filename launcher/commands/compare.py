"""`evaldock compare` and `evaldock gate`: what results are worth beside others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from catalog import comparison
from catalog.comparison import Comparison, Row, row_data, verdict
from catalog.console import catalog_option, green, json_option, out, print_json, red, width
from catalog.errors import NotFound, UsageError
from catalog.record_files import Published, load_all, read
from catalog.store import find_root
from catalog.tables import Column, table


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
        return
    if rows:
        out(_table(rows))
    for name, tasks in ((first, found.only_first), (second, found.only_second)):
        if tasks:
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
    score is lower than the baseline's by more than chance explains. Exit code 1: the gate is closed.

    \b
    Examples:
      evaldock gate 0mg4 --min 0.9
      evaldock gate 0mg4 --min quickcheck.chat/accuracy=0.95 --no-worse-than org/model-a
    """
    if not minimums and baseline is None:
        raise UsageError("nothing to hold the run against", hint="give --min or --no-worse-than")
    root = find_root(catalog_dir)
    mine = _of_run(root, run)
    checks = [check for text in minimums for check in _minimum(mine, text)]
    if baseline is not None:
        published, _ = load_all(root)
        checks += _no_worse(mine, _side(root, published, baseline), baseline, root)
    passed = all(check["passed"] for check in checks)
    if as_json:
        print_json({"passed": passed, "checks": checks})
    else:
        for check in checks:
            mark = green("ok  ") if check["passed"] else red("FAIL")
            out(f"{mark} {check['task']} {check['metric']}: {check['says']}")
    return 0 if passed else 1


def _of_run(root: Path, run: str) -> list[Published]:
    """From the database where it knows the run, else published records."""
    from launcher.commands.options import database, resolve  # noqa: PLC0415
    from launcher.recording import record_of  # noqa: PLC0415

    with database() as opened:
        try:
            (run_id,) = resolve(opened, [run])
        except NotFound:
            published, _ = load_all(root)
            return _side(root, published, run)
        plan = opened.plan(run_id)
        jobs = {job.key: job for job in plan.jobs}
        made = [record_of(plan, jobs[row.key], row, environ=os.environ)[0] for row in opened.jobs(run_id)]
        return [Published(record, Path(record.run)) for record in made]


def _side(root: Path, published: Sequence[Published], name: str) -> list[Published]:
    if name.endswith(".json") and Path(name).is_file():
        file = Path(name).resolve()
        inside = file.is_relative_to(root.resolve())
        return [Published(read(file), file.relative_to(root.resolve()) if inside else file)]
    found = comparison.of_model(published, name) or comparison.of_run(published, name)
    if not found:
        models = sorted({one.record.model for one in published})
        raise NotFound(
            f"no published result of a model or run {name!r}",
            hint=f"there are results of: {', '.join(models[:10]) or 'nobody yet'}",
        )
    return comparison.newest(found)


def _minimum(mine: Sequence[Published], text: str) -> list[dict[str, Any]]:
    name, equals, value = text.rpartition("=")
    try:
        least = float(value)
    except ValueError:
        raise UsageError(f"not a minimum: {text!r}", hint="expected 0.9 or TASK/METRIC=0.9") from None
    task, _, wanted = name.partition("/")
    checks = []
    for one in mine:
        if equals and task not in (one.record.task_id, one.record.task):
            continue
        metric = one.record.metric(wanted) if wanted else one.record.primary
        if metric is None:
            raise NotFound(
                f"{one.record.task_id} has no metric {wanted!r}",
                hint=f"it has {', '.join(m.name for m in one.record.metrics[:10])}",
            )
        says = f"{metric.value:.4g}, at least {least:g} wanted"
        passed = metric.value >= least
        checks.append({"task": one.record.task_id, "metric": metric.name, "passed": passed, "says": says})
    if not checks:
        raise NotFound(f"the run has no task {task!r}")
    return checks


def _no_worse(
    mine: Sequence[Published], base: Sequence[Published], name: str, root: Path
) -> list[dict[str, Any]]:
    found = comparison.compare(base, mine, comparison.samples_in(root))
    first = [row for row in found.rows if _is_first(found, row)]
    if not first:
        raise NotFound(f"no task of the run has a result of {name!r} to hold against")
    return [
        {
            "task": row.task,
            "metric": row.metric,
            "passed": not (row.difference.value < 0 and row.difference.chance is not True),
            "says": f"{row.second.value:.4g} against {row.first.value:.4g}: {verdict(row)}",
        }
        for row in first
    ]


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
