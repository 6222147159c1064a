"""The run's handle: one JSON file from which a run can be found again on any machine.

It lies in the run's folder as `run.json`: the plan, and for each job the backend's own id. No secrets.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from catalog.errors import NotFound, UsageError
from catalog.records import number
from launcher.jobs import JobHandle, JobPlan, JobStatus, RunPlan, State
from launcher.plans.plan_files import plan_from_data, plan_to_data
from launcher.runs import run_directory as files
from launcher.runs.database import Database

VERSION = 1


def write(database: Database, plan: RunPlan) -> Path:
    """Called before anything is submitted, and whenever a native id has been learnt."""
    path = Path(plan.directory) / files.HANDLE
    path.parent.mkdir(parents=True, exist_ok=True)
    jobs = {
        row.key: {
            "state": row.state.value,
            "attempt": row.attempt,
            "native_id": row.native_id,
            "folder": row.folder,
            "submitted": row.submitted,
        }
        for row in database.jobs(plan.run_id)
    }
    created = database.run(plan.run_id).created
    files.write_json(path, {"version": VERSION, "created": created, "plan": plan_to_data(plan), "jobs": jobs})
    return path


def adopt(database: Database, path: Path) -> RunPlan:
    """Makes the database's rows from a handle; what is known already stays. The run's folder is the handle's.

    Raises NotFound for no file, UsageError for one that isn't a handle.
    """
    file = path / files.HANDLE if path.is_dir() else path
    if not file.is_file():
        raise NotFound(f"no handle at {file}", hint="a run's folder holds it as run.json")
    data = files.read_handle(file)
    try:
        plan, jobs, created = _read(data)
        plan = dataclasses.replace(plan, directory=str(file.parent.resolve()))
        # All of it or nothing: of a job whose number was lost, another attempt could be started.
        with database.transaction():
            known = database.knows(plan.run_id)
            database.record(plan, created=created)
            if not known:
                for job in plan.jobs:
                    _adopt_job(database, plan, job, jobs.get(job.key, {}))
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise UsageError(
            f"not a run's handle: {type(problem).__name__}: {problem}", place=str(file)
        ) from None
    return plan


def _read(data: dict[str, Any] | None) -> tuple[RunPlan, dict[str, Any], float | None]:
    if data is None or data.get("version") != VERSION:
        raise ValueError(f"expected version {VERSION}")
    return plan_from_data(data["plan"]), dict(data["jobs"]), number(data.get("created"))


def _adopt_job(database: Database, plan: RunPlan, planned: JobPlan, job: dict[str, Any]) -> None:
    """An ended job is found again by its exit.json or its backend; only what was cancelled before it was ever
    submitted can't be. One without an id may have been submitted after the handle was written: the backend is
    asked."""
    if job.get("native_id"):
        folder = plan.folder(planned)
        handle = JobHandle(
            key=planned.key,
            backend=plan.backend,
            native_id=str(job["native_id"]),
            directory=folder if plan.remote or Path(folder).is_dir() else job.get("folder") or folder,
            attempt=int(job.get("attempt", 1)),
        )
        database.submitted(handle, at=number(job.get("submitted")))
    elif State(job.get("state", State.PLANNED)).terminal:
        state = State(job["state"])
        database.note([(planned.key, JobStatus(state=state, reason="ended before it was adopted"))])
    else:
        database.submitting(planned.key, attempt=int(job.get("attempt", 1)))
