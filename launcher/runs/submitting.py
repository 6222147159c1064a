"""Handing a run's jobs to its backend: what may go now, behind which others, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from catalog.errors import EvaldockError, InvalidInput, Refused, Unreachable
from launcher.backends.protocol import Backend, NoRoom, NotSent, TakesMany
from launcher.jobs import JobHandle, JobPlan, JobStatus, RunPlan, State
from launcher.plans import served_models
from launcher.runs.database import Database, JobRow
from launcher.secrets import redact, resolve, values_of

# Seconds before another attempt.
LONGEST_PAUSE = 300.0


def first_pause(environ: Mapping[str, str]) -> float:
    """Seconds before the second try of what failed: EVALDOCK_RETRY_PAUSE, else 5."""
    try:
        return max(0.0, float(environ.get("EVALDOCK_RETRY_PAUSE") or 5))
    except ValueError:
        return 5.0


def handle_of(plan: RunPlan, row: JobRow) -> JobHandle | None:
    """With the backend's settings, which no database row repeats."""
    handle = row.handle(plan.backend)
    return replace(handle, settings=plan.settings) if handle else None


class Ready(NamedTuple):
    """A job that may be submitted now, `behind` others that haven't ended."""

    row: JobRow
    behind: Sequence[JobHandle]


class _Prepared(NamedTuple):
    row: JobRow
    job: JobPlan
    secrets: Mapping[str, str]


class Submitter:
    def __init__(
        self, database: Database, plan: RunPlan, backend: Backend, environ: Mapping[str, str]
    ) -> None:
        self.database, self.plan, self.backend, self.environ = database, plan, backend, environ
        self.jobs = {job.key: job for job in plan.jobs}
        self.many = cast(TakesMany, backend) if hasattr(backend, "submit_together") else None
        # A backend that can hold a job back until others have ended says so; see `Backend.submit`.
        self.holds_back = plan.retries == 0 and getattr(backend, "NATIVE_DEPENDENCIES", False)

    def wanted(self, key: str) -> list[tuple[str, JobRow | None]]:
        """The jobs that this one depends on, and what is known of them."""
        return [(other, self.database.job(other)) for other in self.jobs[key].depends_on]

    def behind(self, row: JobRow) -> list[JobHandle] | None:
        """The unfinished jobs that this one may be submitted behind: none where it needn't wait, and None
        where it has to wait here. Retries are made here, so that with them nothing is left to a backend."""
        pause = row.not_before - time.time() if row.not_before is not None else 0.0
        # One that is longer than any that is made: the clock was set back.
        if 0 < pause <= max(LONGEST_PAUSE, first_pause(self.environ)):
            return None
        found: list[JobHandle] = []
        for key, wanted in self.wanted(row.key):
            if wanted is not None and wanted.state is State.SUCCEEDED and wanted.collected:
                continue
            if wanted is None or key not in self.jobs or not self.holds_back:
                return None
            handle = handle_of(self.plan, wanted)
            # Behind one whose number was never learnt nothing can be placed.
            if (
                handle is None
                or not handle.native_id
                or wanted.state.terminal
                or wanted.stop_reason is not None
            ):
                return None
            found.append(handle)
        return found

    def groups(self, ready: Sequence[Ready]) -> list[list[Ready]]:
        """What may be handed over in one go, in the order of the first of each."""
        found: dict[Hashable, list[Ready]] = {}
        for each in ready:
            job = self.jobs[each.row.key]
            alike = self.many.alike(self.plan, job) if self.many else None
            behind = tuple(handle.native_id for handle in each.behind)
            same = each.row.key if alike is None else (alike, each.row.attempt, behind)
            found.setdefault(same, []).append(each)
        return list(found.values())

    def submit(self, group: Sequence[Ready], at_once: int) -> int:
        """How many were accepted; of the others the database says why not, and whether it will be tried
        again. Of the group at most so many jobs run `at_once`."""
        if self.plan.queue_timeout is not None:
            # One that waits for others of its own group would be taken for one that the queue forgot.
            group = group[:at_once]
        prepared = [made for each in group if (made := self._prepared(each.row))]
        return self._hand_over(prepared, group[0].behind, at_once)

    def _hand_over(self, group: Sequence[_Prepared], behind: Sequence[JobHandle], at_once: int) -> int:
        if len(group) < 2 or self.many is None:
            return sum(self._alone(each, behind) for each in group)
        with self.database.transaction():
            for each in group:
                self.database.submitting(each.row.key)
        try:
            handles = self.many.submit_together(
                self.plan,
                [each.job for each in group],
                group[0].row.attempt,
                {each.row.key: each.secrets for each in group},
                behind,
                at_once=at_once,
            )
        except NoRoom as error:
            half = len(group) // 2
            accepted = self._hand_over(group[:half], behind, at_once)
            if accepted == half < at_once:
                return accepted + self._hand_over(group[half:], behind, at_once - accepted)
            self._not_accepted(group[half:], error)
            return accepted
        except Refused as error:
            # What holds for groups only doesn't hold for one; anything else is true of all alike.
            if not self._alone(group[0], behind):
                self._not_accepted(group[1:], error)
                return 0
            return 1 + sum(self._alone(each, behind) for each in group[1:at_once])
        except (EvaldockError, OSError) as error:
            self._not_accepted(group, error)
            return 0
        with self.database.transaction():
            for handle in handles.values():
                self.database.submitted(handle)
        return len(handles)

    def _prepared(self, row: JobRow) -> _Prepared | None:
        job = self.jobs[row.key]
        names = [*job.secrets, *(job.deployment.secrets if job.deployment else ())]
        try:
            secrets = resolve(names, self.environ)
            job = served_models.located(self.plan, job, Path(self.database.path.parent))
        except (EvaldockError, OSError) as error:
            self._not_accepted([_Prepared(row, job, {})], error)
            return None
        return _Prepared(row, job, secrets)

    def _alone(self, each: _Prepared, behind: Sequence[JobHandle]) -> bool:
        more: dict[str, Any] = {"after": behind} if behind else {}
        self.database.submitting(each.row.key)
        try:
            handle = self.backend.submit(self.plan, each.job, each.row.attempt, each.secrets, **more)
        except (EvaldockError, OSError) as error:
            self._not_accepted([each], error)
            return False
        self.database.submitted(handle)
        return True

    def _not_accepted(self, group: Iterable[_Prepared], error: EvaldockError | OSError) -> None:
        for row in (each.row for each in group):
            if not isinstance(error, Unreachable | InvalidInput):
                reason = self.redacted(f"not submitted: {error}")
                status = JobStatus(state=State.FAILED, reason=reason, seen=time.time())
                self.database.note([(row.key, status)])
                continue
            waiting = isinstance(error, served_models.Waiting)
            self.database.postpone(
                row.key,
                reason=self.redacted(str(error)),
                not_before=0 if waiting else time.time() + first_pause(self.environ),
            )
            if isinstance(error, NotSent) and row.submitting is None:
                self.database.not_submitted(row.key)

    def redacted(self, text: str) -> str:
        return redact(text, values_of(self.plan, self.environ))
