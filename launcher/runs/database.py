"""The execution database: what was planned, what was submitted, what became of it.

It is an index: the run's handle (`run.json`) and the jobs' folders hold enough to make it again
(`evaldock adopt`).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import NotFound, UsageError
from launcher.jobs import JobHandle, JobStatus, RunPlan, State
from launcher.plans.plan_files import plan_from_data, plan_to_data
from launcher.runs import database_file


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """`created`, `cancelled` and `resumed` (the last time) in seconds since the epoch; `states` counts the
    run's jobs by state."""

    run_id: str
    backend: str
    directory: str
    created: float
    cancelled: float | None
    states: dict[str, int]
    resumed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as it was last seen. Times in seconds since the epoch: `ended` is when its end was noted,
    `stopping` when it was asked to stop (because of `stop_reason`), `not_before` when it may be submitted,
    `submitting` when a backend was last given it: without `submitted` nobody knows what came of that.
    `running` is since when its attempt runs, `unheard` since when nobody could be asked about it."""

    key: str
    run_id: str
    position: int
    task: str
    model: str
    state: State
    reason: str | None
    exit_code: int | None
    native: str | None
    attempt: int
    native_id: str | None
    folder: str | None
    submitted: float | None
    stopping: float | None
    stop_reason: str | None
    ended: float | None
    collected: float | None
    seen: float | None
    not_before: float | None
    submitting: float | None
    running: float | None
    unheard: float | None

    def handle(self, backend: str) -> JobHandle | None:
        """None as long as no backend has accepted it."""
        if self.native_id is None or self.folder is None:
            return None
        return JobHandle(
            key=self.key,
            backend=backend,
            native_id=self.native_id,
            directory=self.folder,
            attempt=self.attempt,
        )


def default_path() -> Path:
    """EVALDOCK_STATE, else XDG_STATE_HOME/evaldock, else ~/.local/state/evaldock."""
    if given := os.environ.get("EVALDOCK_STATE"):
        return Path(given) / "runs.db"
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "evaldock" / "runs.db"


class Database:
    """One connection to the file at `path`; errors are those of `database_file.opened`."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._connection = database_file.opened(self.path)

    def close(self) -> None:
        self._connection.close()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return database_file.transaction(self._connection)

    def record(self, plan: RunPlan, *, created: float | None = None) -> None:
        """The intent, before anything is submitted. A run that is recorded already stays as it is."""
        now = time.time() if created is None else created
        with self.transaction() as connection:
            made = connection.execute(
                "INSERT OR IGNORE INTO runs (run_id, backend, directory, plan, created)"
                " VALUES (?, ?, ?, ?, ?)",
                (plan.run_id, plan.backend, plan.directory, json.dumps(plan_to_data(plan)), now),
            )
            if made.rowcount:
                connection.executemany(
                    "INSERT INTO jobs (key, run_id, position, task, model, state) VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (job.key, plan.run_id, job.index, job.title, job.endpoint.model_id, State.PLANNED)
                        for job in plan.jobs
                    ],
                )

    def plan(self, run_id: str) -> RunPlan:
        row = self._connection.execute("SELECT plan FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise NotFound(f"no run {run_id!r}", hint="`evaldock ls runs` lists them")
        return plan_from_data(json.loads(row["plan"]))

    def resolve(self, prefix: str) -> str:
        """The run that `prefix` begins. Raises NotFound for none, UsageError listing several."""
        # What begins with it lies between it and it with the greatest character behind.
        rows = self._connection.execute(
            "SELECT run_id FROM runs WHERE run_id BETWEEN ? AND ? ORDER BY created DESC LIMIT 6",
            (prefix, f"{prefix}\U0010ffff"),
        ).fetchall()
        found = [str(row["run_id"]) for row in rows]
        if prefix in found:
            return prefix
        if not prefix or not found:
            raise NotFound(f"no run begins with {prefix!r}", hint="`evaldock ls runs` lists them")
        if len(found) > 1:
            raise UsageError(
                f"several runs begin with {prefix!r}: {', '.join(found)}", hint="give more of the id"
            )
        return found[0]

    def runs(self, *, since: float = 0, backend: str | None = None, limit: int | None = None) -> list[RunRow]:
        """Newest first."""
        rows = self._connection.execute(
            "SELECT run_id, backend, directory, created, cancelled FROM runs"
            " WHERE created >= ? AND (? IS NULL OR backend = ?) ORDER BY created DESC, run_id DESC LIMIT ?",
            (since, backend, backend, -1 if limit is None else limit),
        ).fetchall()
        states = self._states([row["run_id"] for row in rows])
        return [RunRow(**dict(row), states=states.get(row["run_id"], {})) for row in rows]

    def run(self, run_id: str) -> RunRow:
        row = self._connection.execute(
            "SELECT run_id, backend, directory, created, cancelled, resumed FROM runs WHERE run_id = ?",
            (run_id,),
        ).fetchone()
        if row is None:
            raise NotFound(f"no run {run_id!r}", hint="`evaldock ls runs` lists them")
        return RunRow(**dict(row), states=self._states([run_id]).get(run_id, {}))

    def knows(self, run_id: str) -> bool:
        return bool(self._connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone())

    def _states(self, run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        counted: dict[str, dict[str, int]] = {}
        if not run_ids:
            return counted
        query = (
            "SELECT run_id, state, count(*) AS n FROM jobs WHERE run_id IN (SELECT value FROM json_each(?))"
        )
        for row in self._connection.execute(f"{query} GROUP BY run_id, state", (json.dumps(list(run_ids)),)):
            counted.setdefault(row["run_id"], {})[row["state"]] = row["n"]
        return counted

    def jobs(self, run_id: str) -> list[JobRow]:
        rows = self._connection.execute("SELECT * FROM jobs WHERE run_id = ? ORDER BY position", (run_id,))
        return [_job(row) for row in rows]

    def job(self, key: str) -> JobRow | None:
        row = self._connection.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
        return _job(row) if row is not None else None

    def open_runs(self) -> list[str]:
        """Runs with jobs that have not ended or are not collected."""
        rows = self._connection.execute(
            "SELECT DISTINCT run_id FROM jobs WHERE ended IS NULL OR collected IS NULL ORDER BY run_id"
        )
        return [str(row["run_id"]) for row in rows]

    def postpone(self, key: str, *, reason: str, not_before: float) -> None:
        """Submitting failed in a way that another try may mend, not before that time."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET reason = ?, not_before = ? WHERE key = ? AND state = ?",
                (reason, not_before, key, State.PLANNED),
            )

    def stop(self, key: str, reason: str) -> None:
        """The job is being asked to stop; the first reason stays."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET stopping = ?, stop_reason = coalesce(stop_reason, ?)"
                " WHERE key = ? AND ended IS NULL",
                (time.time(), reason, key),
            )

    def submitting(self, key: str, *, attempt: int | None = None) -> None:
        """A backend is about to be given the job, or may have been given this `attempt` of it."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET submitting = ?, attempt = coalesce(?, attempt) WHERE key = ?",
                (time.time(), attempt, key),
            )

    def not_submitted(self, key: str) -> None:
        """The backend was asked and doesn't know the job."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET submitting = NULL WHERE key = ? AND native_id IS NULL", (key,)
            )

    def submitted(self, handle: JobHandle, *, at: float | None = None) -> None:
        now = time.time() if at is None else at
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, reason = NULL, native_id = ?, folder = ?, attempt = ?,"
                " submitted = ? WHERE key = ?",
                (State.QUEUED, handle.native_id, handle.directory, handle.attempt, now, handle.key),
            )

    def note(self, statuses: Iterable[tuple[str, JobStatus]]) -> None:
        """What a backend answered. A job that has ended stays as it ended."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE jobs SET state = :state, reason = :reason, exit_code = :exit_code, native = :native,"
                " seen = :seen, ended = :ended, running = coalesce(running, :running),"
                " unheard = CASE WHEN :unheard IS NULL THEN NULL ELSE coalesce(unheard, :unheard) END"
                " WHERE key = :key AND ended IS NULL",
                [
                    {
                        "key": key,
                        "state": status.state,
                        "reason": status.reason,
                        "exit_code": status.exit_code,
                        "native": status.native,
                        "seen": status.seen,
                        "ended": time.time() if status.state.terminal else None,
                        "running": (status.started or status.seen) if status.state is State.RUNNING else None,
                        "unheard": status.seen if status.state is State.UNKNOWN else None,
                    }
                    for key, status in statuses
                ],
            )

    def not_collected(self, key: str, reason: str) -> None:
        """Why the folder of a job that succeeded isn't here yet; how a job failed stays its reason."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET reason = ? WHERE key = ? AND state = ? AND collected IS NULL",
                (reason, key, State.SUCCEEDED),
            )

    def collected(self, key: str, state: State, reason: str | None) -> None:
        """The job's folder is here; `state` may be worse than what the backend said (no results in it)."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET collected = ?, state = ?, reason = ? WHERE key = ? AND ended IS NOT NULL",
                (time.time(), state, reason, key),
            )

    def again(self, key: str, *, not_before: float = 0, reason: str | None = None) -> bool:
        """Plans the job's next attempt; False where it has not ended, or isn't collected: nobody would bring
        back, or clear up, what the earlier attempt left."""
        with self.transaction() as connection:
            done = connection.execute(
                "UPDATE jobs SET state = ?, reason = ?, exit_code = NULL, native = NULL, native_id = NULL,"
                " attempt = attempt + 1, submitted = NULL, ended = NULL, collected = NULL, stopping = NULL,"
                " stop_reason = NULL, submitting = NULL, running = NULL, unheard = NULL, not_before = ?"
                " WHERE key = ? AND ended IS NOT NULL AND collected IS NOT NULL",
                (State.PLANNED, reason, not_before, key),
            )
            return done.rowcount == 1

    def cancel(self, run_id: str) -> None:
        with self.transaction() as connection:
            connection.execute("UPDATE runs SET cancelled = ? WHERE run_id = ?", (time.time(), run_id))

    def resume(self, run_id: str) -> None:
        with self.transaction() as connection:
            connection.execute(
                "UPDATE runs SET cancelled = NULL, resumed = ? WHERE run_id = ?", (time.time(), run_id)
            )

    def remove(self, run_id: str) -> None:
        with self.transaction() as connection:
            connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))


def _job(row: sqlite3.Row) -> JobRow:
    values = dict(row)
    return JobRow(**{**values, "state": State(values["state"])})
