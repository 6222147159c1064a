"""One round of looking after a run: ask how its jobs are, collect what ended, stop, retry, submit.

`tick` can run anywhere that reaches the backend and the database, as often as one likes: everything it needs
to know is recorded, and two rounds of the same run never overlap (a lock that ends with its process).
Queueing, dependencies, concurrency, retries, deadlines and the failure policy are here and nowhere else.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from catalog.errors import EvaldockError, Refused
from launcher.backends.protocol import Backend, StopsMany, load
from launcher.jobs import JobHandle, JobStatus, RunPlan, State
from launcher.runs import handle as run_handle
from launcher.runs import judging, releasing
from launcher.runs import run_directory as files
from launcher.runs.database import Database, JobRow
from launcher.runs.submitting import LONGEST_PAUSE, Ready, Submitter, first_pause, handle_of

STOP_AGAIN = 15.0
# Seconds that resuming waits for another process's round.
RESUMING = 60.0
# How many times as long as the last time took nothing is written while jobs are handed over: the handle holds
# all of the run, and a job that it has no number of is found by its key.
WRITING = 20.0


def tick(database: Database, run_id: str, environ: Mapping[str, str]) -> list[JobRow]:
    """One round; the jobs as they stand after it. While another process has its round, nothing is done."""
    plan = database.plan(run_id)
    with _round(database, run_id) as mine:
        if mine:
            _Round(database, plan, environ).run()
    return database.jobs(run_id)


def request_stop(database: Database, run_id: str) -> None:
    """The next round cancels what has not ended."""
    database.cancel(run_id)


def give_up(database: Database, run_id: str) -> list[str]:
    """Writes off what has not ended or could not be collected, without asking anybody; their keys. What may
    still run goes on running: for backends that are gone for good. Raises Refused while another process has
    its round."""
    with own_round(database, run_id):
        plan = database.plan(run_id)
        with database.transaction():
            database.cancel(run_id)
            rows = [row for row in database.jobs(run_id) if row.collected is None]
            for row in rows:
                state, reason = judging.given_up(plan, row)
                if not row.state.terminal:
                    database.note([(row.key, JobStatus(state=state, reason=reason, seen=time.time()))])
                database.collected(row.key, state, reason)
        run_handle.write(database, plan)
    return [row.key for row in rows]


def resume(database: Database, run_id: str) -> list[str]:
    """Plans another attempt for every job that ended without success and is collected; their keys. The run's
    deadline counts anew. Raises Refused while another process has its round for long."""
    with own_round(database, run_id, patience=RESUMING), database.transaction():
        database.resume(run_id)
        rows = database.jobs(run_id)
        wanted = [row for row in rows if row.state.terminal and row.state is not State.SUCCEEDED]
        return [row.key for row in wanted if database.again(row.key, reason="resumed")]


class _Round:
    def __init__(self, database: Database, plan: RunPlan, environ: Mapping[str, str]) -> None:
        self.database, self.plan, self.environ = database, plan, environ
        self.backend: Backend = load(plan.backend)
        self.jobs = {job.key: job for job in plan.jobs}
        self.submitter = Submitter(database, plan, self.backend, environ)
        row = database.run(plan.run_id)
        self.cancelled, self.began = row.cancelled is not None, row.resumed or row.created
        self.write_after = 0.0

    def run(self) -> None:
        before = self._rows()
        self._find()
        self._poll()
        self._collect()
        self._retry()
        self._stop()
        self._drop_blocked()
        self._submit()
        releasing.release(self.database, self.plan, lambda text: self._say(Path(self.plan.directory), text))
        releasing.release_left_over(self.database, but=self.plan.run_id)
        after = self._rows()
        changed = [replace(row, seen=None) for row in after] != [replace(row, seen=None) for row in before]
        if changed or not (Path(self.plan.directory) / files.HANDLE).exists():
            self._write_handle()

    def _rows(self) -> list[JobRow]:
        return self.database.jobs(self.plan.run_id)

    def _handle(self, row: JobRow) -> JobHandle | None:
        return handle_of(self.plan, row)

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
        never = [row for row in unsure if answers[row.key].state is State.LOST]
        if self.cancelled:
            self._cancel([self._unsure(row) for row in never])
        for row in unsure:
            answer = answers[row.key]
            if answer.state is State.LOST:
                self.database.not_submitted(row.key)
            elif answer.state is not State.UNKNOWN:
                self.database.submitted(replace(self._unsure(row), native_id=answer.native_id or ""))

    def _poll(self) -> None:
        rows = {row.key: row for row in self._rows() if not row.state.terminal}
        handles = [handle for row in rows.values() if (handle := self._handle(row))]
        if handles:
            answers = self.backend.status(handles)
            self.database.note(
                (key, judging.judged(rows[key], status, self._failed_dependency(key, status, answers)))
                for key, status in answers.items()
            )

    def _failed_dependency(self, key: str, status: JobStatus, answers: Mapping[str, JobStatus]) -> str | None:
        """Of a job that ended without having run, perhaps because it was held back by the backend itself."""
        if status.state not in (State.CANCELLED, State.FAILED) or status.exit_code:
            return None
        for other, row in self._wanted(key):
            state = answers[other].state if other in answers else row.state if row else State.LOST
            if state.terminal and state is not State.SUCCEEDED:
                return f"its dependency {row.task if row else other} ({other}) {state}"
        return None

    def _wanted(self, key: str) -> list[tuple[str, JobRow | None]]:
        return self.submitter.wanted(key)

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
            except (EvaldockError, OSError) as error:
                # The others are collected all the same.
                self._say(folder, f"collecting has to wait: {error}")
                why = error.message if isinstance(error, EvaldockError) else str(error)
                self.database.not_collected(
                    row.key, self.submitter.redacted(f"its results are not here yet: {why}")
                )
                continue
            state, reason = row.state, None if row.state is State.SUCCEEDED else row.reason
            if self.jobs[row.key].kind != "recipe":
                state, reason = judging.with_results(row, folder / files.ARTIFACTS)
            self.database.collected(row.key, state, reason)

    def _retry(self) -> None:
        if self.cancelled:
            return
        for row in self._rows():
            ended_badly = row.state in (State.FAILED, State.LOST) and row.collected is not None
            # What was stopped stays so, but for one that took too long: it may go on from a checkpoint.
            stopped = row.stop_reason is not None and not row.stop_reason.startswith(judging.TIMED_OUT)
            if ended_badly and not stopped and row.attempt <= self.plan.retries and row.native_id is not None:
                pause = min(first_pause(self.environ) * 2 ** (row.attempt - 1), LONGEST_PAUSE)
                reason = f"attempt {row.attempt} {row.state}: {row.reason or f'exit code {row.exit_code}'}"
                self.database.again(row.key, not_before=time.time() + pause, reason=reason)

    def _stop(self) -> None:
        now = time.time()
        # What isn't collected may still get another attempt.
        ended_badly = (State.FAILED, State.LOST)
        failed = [row for row in self._rows() if row.state in ended_badly and row.collected is not None]
        asked: list[JobHandle] = []
        # As one, so that a disk is waited for once, and not for each of a thousand jobs.
        with self.database.transaction():
            for row in self._rows():
                reason = self._stop_reason(row, failed, now)
                if row.state.terminal or reason is None:
                    continue
                handle = self._handle(row)
                if handle is None and row.submitting is None:
                    status = JobStatus(state=State.CANCELLED, reason=reason, seen=now)
                    self.database.note([(row.key, status)])
                # The clock may have been set back since.
                elif row.stopping is None or not 0 <= now - row.stopping <= STOP_AGAIN:
                    self.database.stop(row.key, reason)
                    asked.append(handle or self._unsure(row))
        self._cancel(asked)

    def _cancel(self, handles: Sequence[JobHandle]) -> None:
        if len(handles) > 1 and hasattr(self.backend, "cancel_together"):
            self._ask_to_stop(handles, lambda: cast(StopsMany, self.backend).cancel_together(handles))
            return
        for handle in handles:
            self._ask_to_stop([handle], lambda handle=handle: self.backend.cancel(handle))  # type: ignore[misc]

    def _ask_to_stop(self, handles: Sequence[JobHandle], ask: Callable[[], None]) -> None:
        try:
            ask()
        except (EvaldockError, OSError) as error:
            # It is asked again, and the others are asked all the same.
            for handle in handles:
                folder = Path(self.plan.directory) / self.jobs[handle.key].directory
                self._say(folder, f"stopping has to wait: {error}")

    def _stop_reason(self, row: JobRow, failed: Sequence[JobRow], now: float) -> str | None:
        if self.cancelled:
            return "stopped on request"
        return judging.stop_reason(
            self.plan,
            self.jobs[row.key],
            row,
            now,
            began=self.began,
            failed=failed,
            wanted=lambda: self._wanted(row.key),
        )

    def _drop_blocked(self) -> None:
        """A job whose dependency ended without success fails with that reason; so do those behind it."""
        changed = True
        while changed:
            changed = False
            for row in self._rows():
                blocked = judging.blocked_by(self._wanted(row.key)) if row.state is State.PLANNED else None
                if blocked is not None:
                    status = JobStatus(state=State.FAILED, reason=blocked, seen=time.time())
                    self.database.note([(row.key, status)])
                    self.database.collected(row.key, State.FAILED, blocked)
                    changed = True

    def _submit(self) -> None:
        """Again as long as something was accepted behind which others may go."""
        tried: set[str] = set()
        while not self.cancelled:
            rows = self._rows()
            running = sum(1 for row in rows if not row.state.terminal and row.state is not State.PLANNED)
            ready = [
                Ready(row, behind)
                for row in rows
                if row.state is State.PLANNED and row.key not in tried
                if (behind := self.submitter.behind(row)) is not None
            ]
            if not ready:
                return
            for group in self.submitter.groups(ready):
                if running >= self.plan.parallel:
                    return
                accepted = self.submitter.submit(group, self.plan.parallel - running)
                running += accepted
                if accepted and time.monotonic() > self.write_after:
                    self._write_handle()
            tried.update(each.row.key for each in ready)

    def _write_handle(self) -> None:
        began = time.monotonic()
        try:
            run_handle.write(self.database, self.plan)
        except OSError as error:
            # The database knows all of it, and the next change writes it again.
            self._say(Path(self.plan.directory), f"the run's handle can't be written: {error}")
        now = time.monotonic()
        self.write_after = now + WRITING * (now - began)

    def _say(self, folder: Path, text: str) -> None:
        files.add_line(folder / "supervisor.log", f"{files.timestamp()} {self.submitter.redacted(text)}")


@contextmanager
def own_round(database: Database, run_id: str, *, patience: float = 0.0) -> Iterator[None]:
    """What changes a run outside of a round. Raises Refused where another process has one for longer than
    `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        with _round(database, run_id) as mine:
            if mine:
                yield
                return
        if time.monotonic() >= until:
            raise Refused(f"another command is asking about {run_id}", hint="end it, then try again")
        time.sleep(0.2)


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
