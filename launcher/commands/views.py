"""Runs and jobs as people and programs see them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from catalog.console import dim, green, note, one_line, out, red, width, yellow
from catalog.tables import Column, shorten, table, wrap
from launcher.jobs import RunPlan, State
from launcher.runs.database import JobRow, RunRow
from launcher.runs.run_directory import timestamp
from launcher.runs.watching import progress_of

_STYLES = {
    State.SUCCEEDED: green,
    State.FAILED: red,
    State.LOST: red,
    State.CANCELLED: yellow,
    State.UNKNOWN: yellow,
    State.PLANNED: dim,
}
# Of reasons below a table: characters of a line, lines of a reason, reasons.
_LONGEST, _MOST_LINES, _MOST_REASONS = 600, 8, 4
# So many jobs are told one by one; more of them are counted.
_EACH = 8


def styled(state: str) -> str:
    style = _STYLES.get(State(state))
    return style(state) if style else state


def job_data(plan: RunPlan, row: JobRow) -> dict[str, Any]:
    progress = progress_of(plan, row)
    job = next(job for job in plan.jobs if job.key == row.key)
    return {
        "key": row.key,
        "task": row.task,
        "model": row.model,
        "state": row.state.value,
        "reason": row.reason,
        "exit_code": row.exit_code,
        "native": row.native,
        "native_id": row.native_id,
        "attempt": row.attempt,
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "submitted": _time(row.submitted),
        "ended": _time(row.ended),
        "directory": f"{plan.directory}/{job.directory}",
    }


def run_data(row: RunRow) -> dict[str, Any]:
    return {
        "run": row.run_id,
        "backend": row.backend,
        "created": _time(row.created),
        "directory": row.directory,
        "states": row.states,
    }


def print_rows(rows: Sequence[tuple[RunPlan, JobRow]]) -> None:
    columns = (
        # On a narrow terminal the end of a row is cut: what matters most comes first.
        Column("job"),
        Column("state", style=styled),
        Column("done", right=True),
        Column("task"),
        Column("model"),
        Column("reason", flexible=True),
    )
    lines = []
    for plan, row in rows:
        progress = progress_of(plan, row)
        attempt = f"attempt {row.attempt}" if row.attempt > 1 else ""
        reason = "; ".join(line for line in (attempt, *_lines(row)) if line)
        lines.append((row.key, row.state.value, str(progress or ""), row.task, row.model, reason[:_LONGEST]))
    shown = table(columns, lines, width=width())
    out(shown)
    if width() is not None:
        _print_cut([row for _, row in rows], shown)
        if len(rows) > _EACH:
            states = Counter(row.state.value for _, row in rows)
            out(f"\n{len(rows)} jobs: {_counted(states)}")


def _print_cut(rows: Sequence[JobRow], shown: str) -> None:
    """Reasons that the table had no room for, each once: most jobs of a run fail for the same one."""
    cut: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if _lines(row) and one_line("; ".join(_lines(row)))[:_LONGEST] not in shown:
            cut.setdefault(tuple(_lines(row)), []).append(row.key)
    columns = width() or 80
    for said, keys in list(cut.items())[:_MOST_REASONS]:
        others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        text = [line for part in said[:_MOST_LINES] for line in wrap(part[:_LONGEST], columns, indent="  ")]
        out("\n".join(["", *wrap(f"{keys[0]}{others}:", columns), *text]))
    if len(cut) > _MOST_REASONS:
        run_id = rows[0].key.partition("-")[0]
        left = f"{len(cut) - _MOST_REASONS} more reasons: `evaldock info {run_id} --json`"
        out("\n".join(["", *wrap(left, columns)]))


def say_where_logs_are(rows: Sequence[JobRow]) -> None:
    """A failure that nobody gave a reason for has one in what its job printed."""
    silent = [row for row in rows if row.state is State.FAILED and not row.reason]
    if silent:
        note(f"`evaldock logs {silent[0].key}` shows what it printed")


def print_runs(rows: Sequence[RunRow]) -> None:
    columns = (Column("run"), Column("created"), Column("backend"), Column("jobs", flexible=True))
    lines = [
        (
            row.run_id,
            timestamp(row.created),
            row.backend,
            _counted(row.states),
        )
        for row in rows
    ]
    out(table(columns, lines, width=width()))


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items()))


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Says on a terminal what is waited for, and takes it back: a backend may need a while to answer."""
    if not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(shorten(text, (width() or 80) - 1))
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


class Watch:
    """Live progress of an attached run: one line that is rewritten on a terminal, a line for each change
    elsewhere."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.live = sys.stderr.isatty()
        self.seen: dict[str, tuple[Any, ...]] = {}
        self.shown = ""

    def __call__(self, rows: Sequence[JobRow]) -> None:
        changed: dict[str, list[JobRow]] = {}
        for row in rows:
            now = (row.state, row.attempt, row.reason)
            if self.seen.get(row.key) != now:
                self.seen[row.key] = now
                reason = f" ({said.splitlines()[0]})" if (said := _reason(row)) else ""
                changed.setdefault(f"{row.state}{reason}", []).append(row)
        for what, alike in changed.items():
            self._clear()
            named = [f"{row.key} {row.task}" for row in alike]
            if len(named) > _EACH:
                named = [f"{alike[0].key} and {len(alike) - 1} more"]
            for each in named:
                note(f"{time.strftime('%H:%M:%S')} {each}: {what}")
        if self.live:
            self._show(rows)

    def close(self) -> None:
        self._clear()

    def _show(self, rows: Sequence[JobRow]) -> None:
        ended = sum(1 for row in rows if row.state.terminal)
        parts = [
            f"{row.task} {progress}"
            for row in rows
            if row.state is State.RUNNING and (progress := progress_of(self.plan, row))
        ]
        line = f"{ended}/{len(rows)} jobs ended" + (f"; {', '.join(parts)}" if parts else "")
        self._clear()
        self.shown = line[: (width() or 80) - 1]
        sys.stderr.write(self.shown)
        sys.stderr.flush()

    def _clear(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            self.shown = ""


def _reason(row: JobRow) -> str:
    """Where nobody gave one for a failure, at least the exit code."""
    return row.reason or (f"exit code {row.exit_code}" if row.exit_code else "")


def _lines(row: JobRow) -> list[str]:
    return [text for line in _reason(row).splitlines() if (text := one_line(line))]


def _time(seconds: float | None) -> str | None:
    return timestamp(seconds) if seconds is not None else None
