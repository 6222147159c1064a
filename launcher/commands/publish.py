"""`evaldock publish`: results of runs into a catalog."""

from __future__ import annotations

import os
from pathlib import Path

import click

from catalog.console import json_option, note, out, print_json
from catalog.errors import Refused
from launcher.commands.options import database, resolve, runs_argument


@click.command()
@runs_argument()
@click.option(
    "--to", "target", type=click.Path(path_type=Path), help="The catalog.  [default: as for --catalog]"
)
@click.option("--partial", is_flag=True, help="Publish what failed jobs left too, marked as partial.")
@click.option("--commit", is_flag=True, help="Commit the new files.")
@click.option("--push", is_flag=True, help="Commit and push; a lost race is rebased and tried again.")
@json_option
def publish(
    *, runs: tuple[str, ...], target: Path | None, partial: bool, commit: bool, push: bool, as_json: bool
) -> int:
    """Publish the results of runs: one new file per task and model below results/.

    Jobs that have not succeeded are refused unless --partial is given. Nothing is ever overwritten;
    publishing the same run again changes nothing.

    \b
    Examples:
      evaldock publish 0mg4
      evaldock publish 0mg4 --to ../site/catalog --commit --push
    """
    from catalog.store import find_root  # noqa: PLC0415
    from launcher.publishing import publish as write  # noqa: PLC0415
    from launcher.recording import record_of  # noqa: PLC0415

    root = find_root(target)
    made, refused = [], []
    with database() as opened:
        for run_id in resolve(opened, runs):
            plan = opened.plan(run_id)
            jobs = {job.key: job for job in plan.jobs}
            for row in opened.jobs(run_id):
                try:
                    made.append(record_of(plan, jobs[row.key], row, environ=os.environ, partial=partial))
                except Refused as error:
                    refused.append(error)
    if refused and not partial:
        raise Refused(
            f"nothing was published: {len(refused)} jobs have not succeeded: "
            + "; ".join(error.message for error in refused[:5]),
            hint="--partial publishes what they left, marked as partial; `evaldock resume` runs them again",
        )
    published = write(root, made, commit=commit or push, push=push)
    if as_json:
        print_json({"files": list(published.files), "commit": published.commit, "pushed": published.pushed})
        return 0
    for file in published.files:
        out(file)
    note(f"{len(published.files)} new files in {root}" + (", pushed" if published.pushed else ""))
    return 0
