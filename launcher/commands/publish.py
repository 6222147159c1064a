"""`evaldock publish`: results of runs into a catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from catalog.console import json_option, note, out, print_json
from catalog.errors import EvaldockError, Refused
from catalog.records import Record
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

    Where a job has not succeeded nothing is published, unless --partial is given. Nothing is ever
    overwritten; publishing the same run again changes nothing.

    \b
    Examples:
      evaldock publish 0mg4
      evaldock publish 0mg4 --to ../site/catalog --commit --push
    """
    from catalog.store import find_root  # noqa: PLC0415
    from launcher.results.publishing import publish as write  # noqa: PLC0415
    from launcher.results.recording import records_of  # noqa: PLC0415

    root = find_root(target)
    made: list[tuple[Record, Mapping[str, float]]] = []
    refused: list[EvaldockError] = []
    with database() as opened:
        for run_id in resolve(opened, runs):
            found, missing = records_of(opened, run_id, environ=os.environ, partial=partial)
            made += found
            refused += missing
    _judge(made, refused, partial)
    published = write(root, made, commit=commit or push, push=push)
    if as_json:
        print_json({"files": list(published.files), "commit": published.commit, "pushed": published.pushed})
        return 0
    for file in published.files:
        out(file)
    note(f"{len(published.files)} new files in {root}" + (", pushed" if published.pushed else ""))
    return 0


def _judge(made: Sequence[object], refused: Sequence[EvaldockError], partial: bool) -> None:
    """Raises Refused unless everything, or with `partial` anything, is there to be published."""
    if not refused:
        return
    listed = "; ".join(error.message for error in refused[:5])
    if partial and made:
        note(f"left out, without results: {listed}")
        return
    ways = "--partial publishes what they left, marked as such; " if not partial else ""
    raise Refused(
        f"nothing was published: {len(refused)} jobs have no results to publish: {listed}",
        hint=f"`evaldock status` says how they are; {ways}`evaldock resume` runs them again",
    )
