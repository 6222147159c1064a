"""Handing a run's jobs to its backend: what may go now, behind which others, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError, InvalidInput, NotFound, Refused, Unreachable
from launcher.backends.protocol import Backend, NotSent
from launcher.jobs import JobHandle, JobStatus, RunPlan, State
from launcher.plans import served_models
from launcher.runs.database import Database, JobRow
from launcher.secrets import redact, resolve, values_of


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


class Submitter:
    def __init__(
        self, database: Database, plan: RunPlan, backend: Backend, environ: Mapping[str, str]
    ) -> None:
        self.database, self.plan, self.backend, self.environ = database, plan, backend, environ
        self.jobs = {job.key: job for job in plan.jobs}
        # A backend that can hold a job back until others have ended says so; see `Backend.submit`.
        self.holds_back = plan.retries == 0 and getattr(backend, "NATIVE_DEPENDENCIES", False)

    def wanted(self, key: str) -> list[tuple[str, JobRow | None]]:
        """The jobs that this one depends on, and what is known of them."""
        return [(other, self.database.job(other)) for other in self.jobs[key].depends_on]

    def behind(self, row: JobRow) -> list[JobHandle] | None:
        """The unfinished jobs that this one may be submitted behind: none where it needn't wait, and None
        where it has to wait here. Retries are made here, so that with them nothing is left to a backend."""
        if row.not_before is not None and row.not_before > time.time():
            return None
        found: list[JobHandle] = []
        for key, wanted in self.wanted(row.key):
            if wanted is not None and wanted.state is State.SUCCEEDED and wanted.collected:
                continue
            if wanted is None or key not in self.jobs or not self.holds_back:
                return None
            handle = handle_of(self.plan, wanted)
            if handle is None or wanted.state.terminal or wanted.stop_reason is not None:
                return None
            found.append(handle)
        return found

    def submit(self, row: JobRow, behind: Sequence[JobHandle]) -> bool:
        """False where it was not accepted; the database says why, and whether it will be tried again."""
        job = self.jobs[row.key]
        names = [*job.secrets, *(job.deployment.secrets if job.deployment else ())]
        more: dict[str, Any] = {"after": behind} if behind else {}
        try:
            secrets = resolve(names, self.environ)
            job = served_models.located(self.plan, job, Path(self.database.path.parent))
            self.database.submitting(row.key)
            handle = self.backend.submit(self.plan, job, row.attempt, secrets, **more)
        except (Unreachable, InvalidInput) as error:
            waiting = isinstance(error, served_models.Waiting)
            self.database.postpone(
                row.key,
                reason=self._redacted(str(error)),
                not_before=0 if waiting else time.time() + first_pause(self.environ),
            )
            if isinstance(error, NotSent) and row.submitting is None:
                self.database.not_submitted(row.key)
            return False
        except (NotFound, Refused, EvaldockError, OSError) as error:
            reason = self._redacted(f"not submitted: {error}")
            self.database.note([(row.key, JobStatus(state=State.FAILED, reason=reason, seen=time.time()))])
            return False
        self.database.submitted(handle)
        return True

    def _redacted(self, text: str) -> str:
        return redact(text, values_of(self.plan, self.environ))
