"""`evaldock report`: what came out of runs, for people and for summaries of CI jobs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from catalog.console import catalog_option, json_option, out, print_json
from launcher.commands.options import database, resolve, runs_argument

# GitHub takes 1 MiB of summary for a step; some of it is left to others.
_SUMMARY_BYTES = 900_000


@click.command()
@runs_argument()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "github", "json"]),
    default="text",
    show_default=True,
    help="markdown fits a job's summary; github prints annotations for what failed.",
)
@catalog_option
@json_option
def report(*, runs: tuple[str, ...], form: str, catalog_dir: Path | None, as_json: bool) -> None:
    """Show what came out of runs: scores, how sure they are, and what they were the last time.

    Asks no backend. Each score stands beside the newest published result of the same task and model, one that
    asked the same question if there is one.

    \b
    Examples:
      evaldock report 0mg4
      evaldock report 0mg4 --format markdown >> "$GITHUB_STEP_SUMMARY"
      evaldock report 0mg4 --format github
    """
    from catalog.store import find_root  # noqa: PLC0415
    from launcher.results import report_text, reporting  # noqa: PLC0415

    root = find_root(catalog_dir)
    with database() as opened:
        made = [reporting.report(opened, run_id, root, os.environ) for run_id in resolve(opened, runs)]
    if as_json or form == "json":
        print_json([reporting.report_data(each) for each in made])
    elif form == "markdown":
        out(report_text.as_markdown(made, limit=_SUMMARY_BYTES))
    elif form == "github":
        # Not through `out`, which keeps text from becoming a workflow command.
        click.echo(report_text.as_annotations(made))
    else:
        out(report_text.as_text(made))
