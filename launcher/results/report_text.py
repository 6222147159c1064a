"""A run's report as Markdown for a job's summary, and as annotations. Pure; all names in it are untrusted."""

from __future__ import annotations

import html
from collections.abc import Sequence

from catalog.comparison import verdict
from catalog.console import one_line, safe
from catalog.difference_text import code
from catalog.github.workflow_commands import annotation
from catalog.records import Record
from catalog.statistics import interval
from launcher.jobs import State
from launcher.results.reporting import Before, JobReport, RunReport

LONGEST_NAME = 160
LONGEST_REASON = 1000


def as_markdown(reports: Sequence[RunReport], *, limit: int) -> str:
    """At most `limit` bytes: logs go first, then rows."""
    for logs, rows in ((True, None), (False, None), (False, 200), (False, 20)):
        text = "\n".join(_run(each, logs=logs, rows=rows) for each in reports)
        if len(text.encode()) <= limit:
            return text
    return "".join(f"{_heading(each)}\n" for each in reports)[:limit]


def as_annotations(reports: Sequence[RunReport]) -> str:
    """An error for each job that ended without success, a warning for results that can't be read."""
    lines = []
    for job in (job for each in reports for job in each.jobs):
        name = f"{job.row.task} for {job.row.model}"[: 2 * LONGEST_NAME]
        if job.row.state is State.CANCELLED:
            lines.append(annotation("warning", _why(job), title=f"{name} was cancelled"))
        elif job.row.state.terminal and job.row.state is not State.SUCCEEDED:
            lines.append(annotation("error", _why(job), title=f"{name} {job.row.state}"))
        elif job.row.state is State.SUCCEEDED and job.problem:
            lines.append(annotation("error", job.problem, title=f"{name} left no results"))
    return "\n".join(lines)


def as_text(reports: Sequence[RunReport]) -> str:
    lines = []
    for each in reports:
        lines.append(f"{each.plan.run_id} on {each.plan.backend}: {each.state}")
        for job in each.jobs:
            said = _score(job.record) if job.record else _why(job)
            lines.append(one_line(f"  {job.row.task} for {job.row.model}: {job.row.state}, {said}"))
            if job.before:
                lines.append(one_line(f"    before: {_change(job.before)}"))
    return "\n".join(lines)


def _run(reported: RunReport, *, logs: bool, rows: int | None) -> str:
    shown = reported.jobs[:rows]
    table = [
        "| task | model | state | score | 95 % | before | change |",
        "|---|---|---|---:|---|---:|---|",
        *(_row(job) for job in shown),
    ]
    if len(shown) < len(reported.jobs):
        table.append(f"\n_… and {len(reported.jobs) - len(shown)} more jobs._")
    failed = [job for job in reported.jobs if _needs_telling(job)] if logs else []
    details = "".join(f"\n{_details(job)}\n" for job in failed)
    return f"{_heading(reported)}\n\n" + "\n".join(table) + f"\n{details}"


def _needs_telling(job: JobReport) -> bool:
    return job.row.state.terminal and (job.row.state is not State.SUCCEEDED or job.problem is not None)


def _heading(reported: RunReport) -> str:
    done = sum(job.row.state is State.SUCCEEDED for job in reported.jobs)
    ended = all(job.row.state.terminal for job in reported.jobs)
    going = "" if ended else ", the others have not ended"
    return (
        f"### Run {code(reported.plan.run_id)} on {code(reported.plan.backend)}: "
        f"{done} of {len(reported.jobs)} jobs succeeded{going}"
    )


def _row(job: JobReport) -> str:
    score, sure, before, change = "", "", "", ""
    if job.record:
        score, sure = f"**{job.record.primary.value:.4f}** {_cell(job.record.primary.label)}", _interval(job)
        before, change = "none", "first result"
    if job.before:
        row = job.before.row
        before = f"{row.first.value:.4f}" if row else "another metric"
        change = f"{row.difference.value:+.4f}: {verdict(row)}" if row else ""
    cells = (_cell(job.row.task), _cell(job.row.model), job.row.state.value, score, sure, before, change)
    return f"| {' | '.join(cells)} |"


def _interval(job: JobReport) -> str:
    found = interval(job.record.primary) if job.record else None
    return f"{found[0]:.4f} … {found[1]:.4f}" if found else "unknown"


def _details(job: JobReport) -> str:
    """HTML with everything escaped, since Markdown's fences can be closed by a log."""
    title = html.escape(one_line(f"{job.row.task} for {job.row.model}: {job.row.state}")[: 2 * LONGEST_NAME])
    why = html.escape(one_line(_why(job)))
    log = f"\n\n<pre>{html.escape(safe(job.log))}</pre>" if job.log else ""
    return f"<details><summary>{title}</summary>\n\n<p>{why}</p>{log}\n\n</details>"


def _why(job: JobReport) -> str:
    given = job.row.reason or (f"exit code {job.row.exit_code}" if job.row.exit_code else None)
    return (given or job.problem or "no reason is known")[:LONGEST_REASON]


def _score(record: Record) -> str:
    return f"{record.primary.value:.4f} {record.primary.label}"


def _change(before: Before) -> str:
    row = before.row
    said = f"{row.first.value:.4f} ({row.difference.value:+.4f}: {verdict(row)})" if row else "another metric"
    return f"{said} in {before.record.run}"


def _cell(text: str) -> str:
    """A code span; a table's cell ends at a `|` even inside of one (GFM 4.10)."""
    cut = text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
    return code(cut).replace("|", "\\|")
