"""One round of looking after a run: ask how its jobs are, collect what ended, stop, retry, submit.

`tick` can run anywhere that reaches the backend and the database, as often as one likes: everything it needs
to know is recorded, and two rounds of the same run never overlap (a lock that ends with its process).
Queueing, dependencies, concurrency, retries, deadlines and the failure policy are here and nowhere else.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from catalog.errors import EvaldockError, InvalidInput, NotFound, Refused, Unreachable
from launcher import handle as run_handle
from launcher import lepton_endpoints, results_file
from launcher import run_directory as files
from launcher.backends.protocol import Backend, NotSent, load
from launcher.database import Database, JobRow
from launcher.jobs import JobHandle, JobPlan, JobStatus, RunPlan, State
from launcher.secrets import redact, resolve, values_of

STOP_AGAIN = 15.0
LONGEST_PAUSE = 300.0
_TIMED_OUT = "timed out"
_LOG = logging.getLogger(__name__)


def first_pause(environ: Mapping[str, str]) -> float:
    """Seconds before the second try of what failed: EVALDOCK_RETRY_PAUSE, else 5."""
    try:
        return max(0.0, float(environ.get("EVALDOCK_RETRY_PAUSE") or 5))
    except ValueError:
        return 5.0


def tick(database: Database, run_id: str, environ: Mapping[str, str]) -> list[JobRow]:
    """One round; the jobs as they stand after it. While another process has its round, nothing is done."""
    plan = database.plan(run_id)
    with _round(database, run_id) as mine:
        if mine:
            _Round(database, plan, environ).run()
    return database.jobs(run_id)


def finished(rows: Sequence[JobRow]) -> bool:
    """Every job has ended and is collected."""
    return all(row.state.terminal and row.collected is not None for row in rows)


def request_stop(database: Database, run_id: str) -> None:
    """The next round cancels what has not ended."""
    database.cancel(run_id)


def resume(database: Database, run_id: str) -> list[str]:
    """Plans another attempt for every job that ended without success; their keys."""
    database.cancel(run_id, False)
    wanted = [row for row in database.jobs(run_id) if row.state.terminal and row.state is not State.SUCCEEDED]
    return [row.key for row in wanted if database.again(row.key, reason="resumed")]


class _Round:
    def __init__(self, database: Database, plan: RunPlan, environ: Mapping[str, str]) -> None:
        self.database, self.plan, self.environ = database, plan, environ
        self.backend: Backend = load(plan.backend)
        self.jobs = {job.key: job for job in plan.jobs}
        row = database.run(plan.run_id)
        self.cancelled, self.created = row.cancelled is not None, row.created

    def run(self) -> None:
        before = self._rows()
        self._find()
        self._poll()
        self._collect()
        self._retry()
        self._stop()
        self._drop_blocked()
        self._submit()
        self._release()
        after = self._rows()
        changed = [replace(row, seen=None) for row in after] != [replace(row, seen=None) for row in before]
        if changed or not (Path(self.plan.directory) / files.HANDLE).exists():
            self._write_handle()

    def _rows(self) -> list[JobRow]:
        return self.database.jobs(self.plan.run_id)

    def _handle(self, row: JobRow) -> JobHandle | None:
        handle = row.handle(self.plan.backend)
        return replace(handle, settings=self.plan.settings) if handle else None

    def _unsure(self, row: JobRow) -> JobHandle:
        """A job that was being submitted when the launcher ended: backends find it by key and attempt."""
        return JobHandle(
            key=row.key,
            backend=self.plan.backend,
            native_id="",
            directory=self.plan.folder(self.jobs[row.key]),
            attempt=row.attempt,
            settings=self.plan.settings,
        )

    def _find(self) -> None:
        """Jobs that were being submitted when a launcher ended: what has arrived is taken over, so that it
        can be stopped like any other."""
        unsure = [row for row in self._rows() if row.state is State.PLANNED and row.submitting is not None]
        if not unsure:
            return
        answers = self.backend.status([self._unsure(row) for row in unsure])
        for row in unsure:
            state = answers[row.key].state
            if state is State.LOST:
                if self.cancelled:
                    self._cancel(self._unsure(row))
                self.database.not_submitted(row.key)
            elif state is not State.UNKNOWN:
                self.database.submitted(self._unsure(row))

    def _poll(self) -> None:
        rows = {row.key: row for row in self._rows() if not row.state.terminal}
        handles = [handle for row in rows.values() if (handle := self._handle(row))]
        if handles:
            answers = self.backend.status(handles)
            self.database.note((key, _judged(rows[key], status)) for key, status in answers.items())

    def _collect(self) -> None:
        for row in self._rows():
            if not row.state.terminal or row.collected is not None:
                continue
            handle = self._handle(row)
            if handle is None:
                self.database.collected(row.key, row.state, row.reason)
                continue
            folder = Path(self.plan.directory) / self.jobs[row.key].directory
            try:
                self.backend.collect(handle, folder)
            except (Unreachable, OSError) as error:
                self._say(folder, f"collecting has to wait: {error}")
                continue
            state, reason = row.state, row.reason
            if self.jobs[row.key].kind == "evaluation":
                state, reason = _with_results(row, folder / files.ARTIFACTS)
            self.database.collected(row.key, state, reason)

    def _retry(self) -> None:
        if self.cancelled:
            return
        for row in self._rows():
            ended_badly = row.state in (State.FAILED, State.LOST) and row.collected is not None
            # What was stopped stays so, but for one that took too long: it may go on from a checkpoint.
            stopped = row.stop_reason is not None and not row.stop_reason.startswith(_TIMED_OUT)
            if ended_badly and not stopped and row.attempt <= self.plan.retries and row.native_id is not None:
                pause = min(first_pause(self.environ) * 2 ** (row.attempt - 1), LONGEST_PAUSE)
                reason = f"attempt {row.attempt} {row.state}: {row.reason or f'exit code {row.exit_code}'}"
                self.database.again(row.key, not_before=time.time() + pause, reason=reason)

    def _stop(self) -> None:
        now = time.time()
        failed = [row for row in self._rows() if row.state in (State.FAILED, State.LOST)]
        for row in self._rows():
            reason = self._stop_reason(row, failed, now)
            if row.state.terminal or reason is None:
                continue
            handle = self._handle(row)
            if handle is None and row.submitting is None:
                status = JobStatus(state=State.CANCELLED, reason=reason, seen=now)
                self.database.note([(row.key, status)])
            elif row.stopping is None or now - row.stopping > STOP_AGAIN:
                self.database.stop(row.key, reason)
                self._cancel(handle or self._unsure(row))

    def _cancel(self, handle: JobHandle) -> None:
        try:
            self.backend.cancel(handle)
        except Unreachable as error:
            folder = Path(self.plan.directory) / self.jobs[handle.key].directory
            self._say(folder, f"stopping has to wait: {error.message}")

    def _stop_reason(self, row: JobRow, failed: Sequence[JobRow], now: float) -> str | None:
        if self.cancelled:
            return "stopped on request"
        if row.stop_reason is not None:
            return row.stop_reason
        if failed and self.plan.on_failure == "stop-all":
            return f"stopped because {failed[0].task} failed"
        timeout = self.jobs[row.key].timeout
        if timeout is not None and row.submitted is not None and now - row.submitted > timeout:
            return f"{_TIMED_OUT} after {timeout:g} seconds"
        if self.plan.deadline is not None and now - self.created > self.plan.deadline:
            return f"the run's deadline of {self.plan.deadline:g} seconds has passed"
        return None

    def _drop_blocked(self) -> None:
        """A job whose dependency ended without success fails with that reason; so do those behind it."""
        changed = True
        while changed:
            changed = False
            for row in self._rows():
                blocked = self._blocked_by(row) if row.state is State.PLANNED else None
                if blocked is not None:
                    status = JobStatus(state=State.FAILED, reason=blocked, seen=time.time())
                    self.database.note([(row.key, status)])
                    self.database.collected(row.key, State.FAILED, blocked)
                    changed = True

    def _blocked_by(self, row: JobRow) -> str | None:
        for key in self.jobs[row.key].depends_on:
            wanted = self.database.job(key)
            if wanted is None:
                return f"its dependency {key} is not in the database"
            if wanted.state.terminal and wanted.state is not State.SUCCEEDED and wanted.collected is not None:
                return f"its dependency {wanted.task} ({key}) {wanted.state}"
        return None

    def _submit(self) -> None:
        rows = self._rows()
        running = sum(1 for row in rows if not row.state.terminal and row.state is not State.PLANNED)
        for row in rows:
            if running >= self.plan.parallel:
                return
            if row.state is State.PLANNED and not self.cancelled and self._ready(row):
                running += self._submit_one(row, self.jobs[row.key])

    def _ready(self, row: JobRow) -> bool:
        if row.not_before is not None and row.not_before > time.time():
            return False
        wanted = [self.database.job(key) for key in self.jobs[row.key].depends_on]
        return all(job is not None and job.state is State.SUCCEEDED and job.collected for job in wanted)

    def _submit_one(self, row: JobRow, job: JobPlan) -> int:
        names = [*job.secrets, *(job.deployment.secrets if job.deployment else ())]
        try:
            secrets = resolve(names, self.environ)
            job = lepton_endpoints.located(self.plan, job, self.database.path.parent)
            self.database.submitting(row.key)
            handle = self.backend.submit(self.plan, job, row.attempt, secrets)
        except (Unreachable, InvalidInput) as error:
            waiting = isinstance(error, lepton_endpoints.Waiting)
            self.database.postpone(
                row.key,
                reason=self._redacted(str(error)),
                not_before=0 if waiting else time.time() + first_pause(self.environ),
            )
            if isinstance(error, NotSent) and row.submitting is None:
                self.database.not_submitted(row.key)
            return 0
        except (NotFound, Refused, EvaldockError, OSError) as error:
            reason = self._redacted(f"not submitted: {error}")
            self.database.note([(row.key, JobStatus(state=State.FAILED, reason=reason, seen=time.time()))])
            return 0
        self.database.submitted(handle)
        self._write_handle()
        return 1

    def _release(self) -> None:
        """What was made for a run beside its jobs goes when they have ended, or their launcher died."""
        state = self.database.path.parent
        try:
            if finished(self._rows()):
                lepton_endpoints.release(self.plan, state)
            for run_id in lepton_endpoints.left_over(state):
                if run_id != self.plan.run_id and finished(self.database.jobs(run_id)):
                    lepton_endpoints.release_left_over(run_id, state)
        except (EvaldockError, OSError) as error:
            self._say(Path(self.plan.directory), f"an endpoint on Lepton has to be removed later: {error}")
            _LOG.warning("an endpoint on Lepton was not removed; the next command tries again: %s", error)

    def _write_handle(self) -> None:
        try:
            run_handle.write(self.database, self.plan)
        except OSError as error:
            # The database knows all of it, and the next change writes it again.
            self._say(Path(self.plan.directory), f"the run's handle can't be written: {error}")

    def _redacted(self, text: str) -> str:
        return redact(text, values_of(self.plan, self.environ))

    def _say(self, folder: Path, text: str) -> None:
        try:
            with (folder / "supervisor.log").open("a") as file:
                file.write(f"{files.timestamp()} {self._redacted(text)}\n")
        except OSError:
            # The disk may be what is wrong; the state in the database says the same.
            return


def _judged(row: JobRow, status: JobStatus) -> JobStatus:
    """A job that was asked to stop ended because of that, unless it had succeeded before. One that nobody
    here asked was stopped by its machine, and may be tried again."""
    if row.stop_reason is None and status.state is State.CANCELLED:
        return replace(status, state=State.FAILED, reason="stopped from outside")
    if row.stop_reason is None or not status.state.terminal or status.state is State.SUCCEEDED:
        return status
    state = State.CANCELLED if row.stop_reason.startswith("stopped") else State.FAILED
    return replace(status, state=state, reason=row.stop_reason)


def _with_results(row: JobRow, artifacts: Path) -> tuple[State, str | None]:
    """Success without a readable results.yml is none."""
    if row.state is not State.SUCCEEDED:
        return row.state, row.reason
    try:
        results_file.read(artifacts)
    except EvaldockError as error:
        return State.FAILED, error.message
    return State.SUCCEEDED, None


@contextmanager
def _round(database: Database, run_id: str) -> Iterator[bool]:
    """True for the one process that has the round."""
    folder = database.path.parent / "locks"
    folder.mkdir(exist_ok=True)
    file = os.open(folder / f"{run_id}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        yield False
        return
    try:
        yield True
    finally:
        os.close(file)
