"""`evaldock logs`: what jobs print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import click

from catalog.console import safe
from launcher.commands.options import database, named_jobs
from launcher.jobs import RunPlan
from launcher.runs.database import Database, JobRow

# A backend that has more gives at least so many bytes at once; and seconds for one look at a job that runs.
_LARGE, _LONGEST = 1 << 16, 10.0


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN|JOB...")
@click.option("-f", "--follow", is_flag=True, help="Go on until the jobs have ended.")
@click.option(
    "--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between."
)
def logs(*, runs: tuple[str, ...], follow: bool, interval: float) -> None:
    """Print the logs of jobs; with several, each line begins with its job's key.

    \b
    Examples:
      evaldock logs 0mg4
      evaldock logs 0mg4a1b2c3d4e5f6-002 --follow
    """
    from launcher.runs.judging import finished  # noqa: PLC0415
    from launcher.runs.supervisor import tick  # noqa: PLC0415

    with database() as opened:
        chosen = _jobs(opened, runs)
        tail = _Tail(opened, len(chosen) > 1)
        while True:
            for plan, row in chosen:
                tail.print(plan, row)
            if not follow:
                break
            run_ids = {plan.run_id for plan, _ in chosen}
            rows = {row.key: row for run_id in run_ids for row in tick(opened, run_id, os.environ)}
            chosen = [(plan, rows[row.key]) for plan, row in chosen]
            if finished([row for _, row in chosen]) and not tail.moved:
                break
            tail.moved = False
            time.sleep(interval)
        tail.end()


def _jobs(opened: Database, names: Sequence[str]) -> list[tuple[RunPlan, JobRow]]:
    chosen = []
    for name in names:
        rows = named_jobs(opened, name)
        plan = opened.plan(rows[0].run_id)
        chosen += [(plan, row) for row in rows]
    return chosen


class _Tail:
    """Whole lines, each from where the last look ended."""

    def __init__(self, opened: Database, prefixed: bool) -> None:
        self.opened, self.prefixed, self.moved = opened, prefixed, False
        # By job and attempt: another attempt has a log of its own.
        self.cursors: dict[tuple[str, int], int] = {}
        self.torn: dict[str, bytes] = {}

    def print(self, plan: RunPlan, row: JobRow) -> None:
        from launcher.backends.protocol import load  # noqa: PLC0415

        handle = row.handle(plan.backend)
        if handle is None:
            return
        until = time.monotonic() + _LONGEST
        while True:
            at = (row.key, row.attempt)
            # Where the backend is reached stands in the plan.
            asked = replace(handle, settings=plan.settings)
            chunk = load(plan.backend).logs(asked, self.cursors.get(at, 0))
            if not chunk.data:
                return
            self.moved = True
            self.cursors[at] = chunk.next
            *lines, self.torn[row.key] = (self.torn.get(row.key, b"") + chunk.data).split(b"\n")
            self._lines(row.key, lines)
            # One that prints all the time has no end: what it had printed when it was asked is enough.
            if not row.state.terminal and (len(chunk.data) < _LARGE or time.monotonic() > until):
                return

    def end(self) -> None:
        for key, rest in self.torn.items():
            if rest:
                self._lines(key, [rest])

    def _lines(self, key: str, lines: Sequence[bytes]) -> None:
        prefix = f"{key}  " if self.prefixed else ""
        for line in lines:
            sys.stdout.write(f"{prefix}{safe(line.decode('utf-8', 'replace'))}\n")
        sys.stdout.flush()
