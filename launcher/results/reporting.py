"""What came out of a run, beside what was published before: the ground of job summaries and annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import comparison
from catalog.comparison import Row, SampleReader, row_data
from catalog.errors import EvaldockError
from catalog.record_files import Published, load_all
from catalog.records import Record, to_data
from catalog.statistics import interval
from launcher.jobs import RunPlan, State
from launcher.results.recording import record_of
from launcher.runs import run_directory as files
from launcher.runs.database import Database, JobRow
from launcher.secrets import redact, values_of

LOG_BYTES = 6000
LOG_LINES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The newest earlier result of the same task and model, and the primary metric's `row` from it (first) to
    the run's (second); None where it lacks that metric."""

    record: Record
    row: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """`record` is None where there is nothing to publish, and `problem` says why. `log` are the last lines of
    a job that did not succeed, without secrets."""

    row: JobRow
    record: Record | None
    problem: str | None = None
    before: Before | None = None
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    plan: RunPlan
    jobs: tuple[JobReport, ...]

    @property
    def state(self) -> str:
        """Of the whole: `running` while anything is open, else the worst of its jobs' states."""
        states = {job.row.state for job in self.jobs}
        if not all(state.terminal for state in states):
            return "running"
        for worst in (State.FAILED, State.LOST, State.CANCELLED):
            if worst in states:
                return "failed" if worst is State.LOST else worst.value
        return State.SUCCEEDED.value


def report(opened: Database, run_id: str, catalog: Path, environ: Mapping[str, str]) -> RunReport:
    """As the database knows the run; no backend is asked. `catalog` holds what was published before."""
    plan = opened.plan(run_id)
    jobs = {job.key: job for job in plan.jobs}
    published, _ = load_all(catalog)
    kept = comparison.samples_in(catalog)
    hidden = values_of(plan, environ)
    made = []
    for row in opened.jobs(run_id):
        log = _log(Path(plan.directory) / jobs[row.key].directory, hidden) if _ended_badly(row) else ""
        if jobs[row.key].kind != "evaluation":
            made.append(JobReport(row=row, record=None, log=log))
            continue
        try:
            record, scores = record_of(plan, jobs[row.key], row, environ=environ)
        except EvaldockError as error:
            problem = redact(error.message, hidden)
            made.append(JobReport(row=row, record=None, problem=problem, log=log))
            continue
        before = _before(record, scores, published, kept)
        made.append(JobReport(row=row, record=record, before=before, log=log))
    return RunReport(plan=plan, jobs=tuple(made))


def report_data(reported: RunReport) -> dict[str, Any]:
    return {
        "run": reported.plan.run_id,
        "backend": reported.plan.backend,
        "state": reported.state,
        "directory": reported.plan.directory,
        "jobs": [_job_data(job) for job in reported.jobs],
    }


def _job_data(job: JobReport) -> dict[str, Any]:
    data: dict[str, Any] = {
        "key": job.row.key,
        "task": job.row.task,
        "model": job.row.model,
        "state": job.row.state.value,
        "reason": job.row.reason,
        "exit_code": job.row.exit_code,
        "problem": job.problem,
    }
    if job.record is not None:
        main = job.record.primary
        data |= {
            "metric": main.name,
            "value": main.value,
            "interval": interval(main),
            "metrics": to_data(job.record)["metrics"],
        }
    if job.before is not None:
        compared = row_data(job.before.row) if job.before.row else None
        data["before"] = {"run": job.before.record.run, "comparison": compared}
    return data


def _before(
    record: Record, scores: Mapping[str, float], published: Iterable[Published], kept: SampleReader
) -> Before | None:
    """One that asked the same question rather than a newer one that didn't."""
    others = [
        one
        for one in published
        if (one.record.task_id, one.record.model) == (record.task_id, record.model)
        and one.record.run != record.run
        and not one.record.partial
    ]
    equal = [one for one in others if one.record.comparable == record.comparable]
    if not (equal or others):
        return None
    (newest,) = comparison.newest(equal or others)
    mine = Published(record, Path(record.run))
    rows = comparison.compare_records(newest, mine, lambda one: scores if one is mine else kept(one))
    found = next((row for row in rows if row.metric == record.primary.name), None)
    return Before(record=newest.record, row=found)


def _ended_badly(row: JobRow) -> bool:
    return row.state.terminal and row.state is not State.SUCCEEDED


def _log(folder: Path, hidden: Iterable[str]) -> str:
    path = folder / files.JOB_LOG
    try:
        size = path.stat().st_size
    except OSError:
        return ""
    data, _ = files.read_log(path, max(0, size - LOG_BYTES))
    text = redact(data.decode(errors="replace"), hidden)
    return "\n".join(text.splitlines()[-LOG_LINES:])
