"""`evaldock kill`, `resume`, `tick`, `adopt` and `prune`: what changes the course of runs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import click

from catalog.console import json_option, note, out, print_json
from catalog.errors import EvaldockError, Unreachable
from launcher.commands.options import database, resolve, resolve_whole, runs_argument, seconds
from launcher.jobs import State
from launcher.runs.database import Database


@click.command()
@runs_argument()
@click.option("--wait", metavar="SPAN", default="5m", show_default=True, help="Wait so long at most.")
@click.option("--no-wait", is_flag=True, help="Ask, and don't wait until the jobs have ended.")
@click.option("--give-up", is_flag=True, help="Ask nobody: the backend is gone for good.")
@json_option
def kill(*, runs: tuple[str, ...], wait: str, no_wait: bool, give_up: bool, as_json: bool) -> int:
    """Stop the jobs of runs that have not ended, and wait until they have.

    With --give-up they are recorded as lost, and may go on running where nobody can be asked.

    \b
    Examples:
      evaldock kill 0mg4
      evaldock kill 0mg4 0mh1 --no-wait
      evaldock kill 0mg4 --wait 30s --json
      evaldock kill 0mg4 --give-up

    Exit codes: 0 all have ended (with --no-wait: were asked), 4 of one it isn't known in time.
    """
    from launcher.commands.views import job_data, waiting  # noqa: PLC0415
    from launcher.runs import judging, releasing, supervisor  # noqa: PLC0415

    code, said, patience = 0, [], seconds(wait)
    with database() as opened:
        chosen = resolve_whole(opened, runs)
        for run_id in () if give_up else chosen:
            supervisor.request_stop(opened, run_id)
            with waiting(f"asking the jobs of {run_id} to stop …"):
                supervisor.tick(opened, run_id, os.environ)
        for run_id in chosen:
            if give_up:
                line = _give_up(opened, run_id)
            elif no_wait:
                line = "asked to stop"
            else:
                line = _await_end(opened, run_id, patience)
                code = code if judging.finished(opened.jobs(run_id)) else Unreachable.exit_code
            if as_json:
                plan = opened.plan(run_id)
                said += [{"run": run_id, **job_data(plan, row)} for row in opened.jobs(run_id)]
            else:
                out(f"{run_id}: {line}")
        if give_up:
            releasing.release_left_over(opened)
    if as_json:
        print_json(said)
    return code


def _give_up(opened: Database, run_id: str) -> str:
    from launcher.runs import supervisor  # noqa: PLC0415

    keys = supervisor.give_up(opened, run_id)
    if keys:
        note("what may still run there goes on running: nobody was asked to stop it")
    return f"{len(keys)} jobs given up"


def _await_end(opened: Database, run_id: str, patience: float) -> str:
    """Says what it waits for: a backend that can't be reached, a last checkpoint."""
    from launcher.commands.views import Watch  # noqa: PLC0415
    from launcher.runs.watching import until_finished  # noqa: PLC0415

    watch = Watch(opened.plan(run_id))
    rows = until_finished(opened, run_id, os.environ, seen=watch, patience=patience)
    watch.close()
    left = [row for row in rows if row.collected is None]
    if left:
        why = f"{left[0].state}: {left[0].reason}" if left[0].reason else left[0].state.value
        note(f"{len(left)} jobs of {run_id} have not ended in time, such as {left[0].key} ({why})")
        note(f"`evaldock kill {run_id}` waits on; with --give-up they are written off")
    return f"{sum(row.state is State.CANCELLED for row in rows)} of {len(rows)} jobs cancelled"


@click.command()
@runs_argument()
@click.option("--detach", is_flag=True, help="Leave a supervisor behind and return.")
@json_option
def resume(*, runs: tuple[str, ...], detach: bool, as_json: bool) -> int:
    """Run again what ended without success. Harnesses that keep checkpoints go on where they stopped.

    \b
    Examples:
      evaldock resume 0mg4
      evaldock resume 0mg4 --detach
    """
    from launcher.commands.views import Watch, job_data, print_rows, say_where_logs_are  # noqa: PLC0415
    from launcher.runs import watching  # noqa: PLC0415
    from launcher.runs.supervisor import resume as again  # noqa: PLC0415

    code, said = 0, []
    with database() as opened:
        for run_id in resolve_whole(opened, runs):
            keys = again(opened, run_id)
            note(f"{run_id}: {len(keys)} jobs once more")
            plan, rows = opened.plan(run_id), opened.jobs(run_id)
            if detach:
                watching.detach(run_id, opened.path.parent)
            else:
                watch = Watch(plan)
                rows = watching.until_finished(opened, run_id, os.environ, seen=watch)
                watch.close()
                code = max(code, watching.outcome(rows))
            said += [{"run": run_id, **job_data(plan, row)} for row in rows]
            if not (detach or as_json):
                print_rows([(plan, row) for row in rows])
                say_where_logs_are(rows)
    if as_json:
        print_json(said)
    return code


@click.command()
@runs_argument(required=False)
@click.option("--loop", is_flag=True, help="Round after round until everything has ended.")
@json_option
def tick(*, runs: tuple[str, ...], loop: bool, as_json: bool) -> int:
    """One round of looking after runs: submit what is ready, note what ended, collect it.

    Without a run, all that have not ended. Can be repeated, stopped and started again at any time, and from
    several places at once.

    \b
    Examples:
      evaldock tick
      evaldock tick 0mg4 --loop
    """
    from launcher.commands.views import Watch, job_data, print_rows  # noqa: PLC0415
    from launcher.runs import supervisor, watching  # noqa: PLC0415
    from launcher.runs.releasing import release_left_over  # noqa: PLC0415

    with database() as opened:
        rows, code = [], 0
        for run_id in resolve(opened, runs) if runs else opened.open_runs():
            plan = opened.plan(run_id)
            try:
                if loop:
                    watch = Watch(plan)
                    now = watching.until_finished(opened, run_id, os.environ, seen=watch)
                    watch.close()
                else:
                    now = supervisor.tick(opened, run_id, os.environ)
            except EvaldockError as error:
                # The others go on, whatever is wrong with this one.
                note(f"{run_id}: {error}")
                code, now = error.exit_code, opened.jobs(run_id)
            rows += [(plan, row) for row in now]
        if as_json:
            print_json([{"run": plan.run_id, **job_data(plan, row)} for plan, row in rows])
        elif rows:
            print_rows(rows)
        release_left_over(opened)
    return code


@click.command()
@click.argument("handles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="HANDLE...")
@json_option
def adopt(*, handles: tuple[Path, ...], as_json: bool) -> None:
    """Take over runs from their handles: `run.json`, or the run's folder.

    Rebuilds this machine's database; the backends are asked where the jobs stand.

    \b
    Examples:
      evaldock adopt evaldock-runs/0mg4a1b2c3d4e5f6/run.json
      evaldock adopt evaldock-runs/*/
    """
    from launcher.commands.views import job_data, print_rows, waiting  # noqa: PLC0415
    from launcher.runs import handle, supervisor  # noqa: PLC0415

    said = []
    with database() as opened:
        for path in handles:
            plan = handle.adopt(opened, path)
            with waiting(f"asking {plan.backend} about {plan.run_id} …"):
                rows = supervisor.tick(opened, plan.run_id, os.environ)
            said += [{"run": plan.run_id, **job_data(plan, row)} for row in rows]
            if not as_json:
                print_rows([(plan, row) for row in rows])
    if as_json:
        print_json(said)


@click.command()
@click.option("--older-than", metavar="SPAN", default="30d", show_default=True, help="Such as 12h or 30d.")
@click.option("--files", is_flag=True, help="Remove the runs' folders too, not only what is recorded.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and keep it.")
@json_option
def prune(*, older_than: str, files: bool, dry_run: bool, as_json: bool) -> None:
    """Forget runs that have ended and are older than a span of time.

    \b
    Examples:
      evaldock prune --older-than 90d --dry-run
      evaldock prune --older-than 30d --files
    """
    before = time.time() - seconds(older_than)
    with database() as opened:
        running = set(opened.open_runs())
        old = [row for row in opened.runs() if row.created < before and row.run_id not in running]
        for row in old:
            if not dry_run:
                if files and (Path(row.directory) / "run.json").is_file():
                    shutil.rmtree(row.directory)
                opened.remove(row.run_id)
            if not as_json:
                out(f"{'would remove' if dry_run else 'removed'} {row.run_id}")
    if as_json:
        print_json({"removed": [row.run_id for row in old], "dry_run": dry_run})
    note(f"{len(old)} runs {'would be ' if dry_run else ''}removed")
