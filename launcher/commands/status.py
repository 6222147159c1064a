"""`evaldock status`: how runs and their jobs are."""

from __future__ import annotations

import os
import time

import click

from catalog.console import json_option, out, print_json
from launcher.commands.options import database, named_jobs, resolve, runs_argument
from launcher.jobs import RunPlan
from launcher.runs.database import Database, JobRow


@click.command()
@runs_argument(required=False, what="RUN|JOB")
@click.option("--watch", is_flag=True, help="Go on until every job has ended.")
@click.option(
    "--interval", type=click.FloatRange(0.2), default=2.0, show_default=True, help="Seconds between."
)
@json_option
def status(*, runs: tuple[str, ...], watch: bool, interval: float, as_json: bool) -> int:
    """Show how jobs are; without a run, all those that have not ended.

    Asks the backends, notes what has ended and collects it. A run id may be cut short; with a job's number
    behind it, it is that job alone.

    \b
    Examples:
      evaldock status
      evaldock status 0mg4 --watch
      evaldock status 0mg4-007
      evaldock status 0mg4 0mh1 --json
    """
    from launcher.runs.judging import finished  # noqa: PLC0415
    from launcher.runs.releasing import release_left_over  # noqa: PLC0415

    with database() as opened:
        keys = {row.key for name in runs for row in named_jobs(opened, name)}
        chosen = resolve(opened, runs) if runs else opened.open_runs()
        while True:
            asked = [(plan, row) for plan, found in _ask(opened, chosen) for row in found]
            rows = [(plan, row) for plan, row in asked if not runs or row.key in keys]
            _print(rows, as_json)
            release_left_over(opened)
            if not watch or finished([row for _, row in rows]):
                return 0
            time.sleep(interval)
            out()


def _ask(opened: Database, chosen: list[str]) -> list[tuple[RunPlan, list[JobRow]]]:
    from launcher.commands.views import waiting  # noqa: PLC0415
    from launcher.runs.supervisor import tick  # noqa: PLC0415

    found = []
    for run_id in chosen:
        plan = opened.plan(run_id)
        with waiting(f"asking {plan.backend} about {run_id} …"):
            found.append((plan, tick(opened, run_id, os.environ)))
    return found


def _print(rows: list[tuple[RunPlan, JobRow]], as_json: bool) -> None:
    from launcher.commands.views import job_data, print_rows  # noqa: PLC0415

    if as_json:
        print_json([{"run": plan.run_id, **job_data(plan, row)} for plan, row in rows])
    elif rows:
        print_rows(rows)
    else:
        out("nothing is running; `evaldock ls runs` lists what has ended")
