"""`evaldock ls runs` and `evaldock info`."""

from __future__ import annotations

import time

import click

from catalog.console import json_option, out, print_json
from launcher.commands.options import database, resolve, runs_argument, seconds


@click.command()
@click.option("--since", metavar="SPAN", help="Younger than this: 30m, 12h, 7d.")
@click.option("--backend", metavar="NAME", help="On this backend only.")
@click.option("--limit", type=click.IntRange(1), help="So many at most, the newest.")
@json_option
def runs(*, since: str | None, backend: str | None, limit: int | None, as_json: bool) -> None:
    """List runs, the newest first, as they were last seen (`evaldock status` asks anew).

    \b
    Examples:
      evaldock ls runs --since 7d
      evaldock ls runs --backend docker --limit 20 --json
    """
    from launcher.commands.views import print_runs, run_data  # noqa: PLC0415

    with database() as opened:
        after = time.time() - seconds(since) if since else 0
        rows = opened.runs(since=after, backend=backend, limit=limit)
    if as_json:
        print_json([run_data(row) for row in rows])
    elif rows:
        print_runs(rows)
    else:
        out("no runs; `evaldock run --help` says how to start one")


@click.command()
@runs_argument()
@json_option
def info(*, runs: tuple[str, ...], as_json: bool) -> None:
    """Show all that is known of runs: plan, jobs, folders. Asks no backend.

    \b
    Examples:
      evaldock info 0mg4
      evaldock info 0mg4 --json
    """
    from launcher.commands.views import job_data, print_rows, run_data  # noqa: PLC0415
    from launcher.plans.plan_files import plan_to_data  # noqa: PLC0415

    with database() as opened:
        for run_id in resolve(opened, runs):
            row, plan, jobs = opened.run(run_id), opened.plan(run_id), opened.jobs(run_id)
            if as_json:
                data = {
                    **run_data(row),
                    "plan": plan_to_data(plan),
                    "jobs": [job_data(plan, job) for job in jobs],
                }
                print_json(data)
                continue
            for name, value in run_data(row).items():
                if name != "states":
                    out(f"{name:10} {value}")
            out()
            print_rows([(plan, job) for job in jobs])
