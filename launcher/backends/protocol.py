"""What every backend offers: six functions, the same names in the same order in each module.

Waiting, queueing, retries, dependencies, deadlines and the verification of a cancel live once, above, in
`launcher.runs.supervisor`. A backend module satisfies `Backend` by its functions; `load` finds it by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from catalog.errors import Unreachable, UsageError
from launcher.jobs import JobHandle, JobPlan, JobStatus, LogChunk, RunPlan

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "process": "launcher.backends.process",
        "docker": "launcher.backends.docker",
        "local": "launcher.backends.docker",
        "slurm": "launcher.backends.slurm",
        "ray": "launcher.backends.ray",
        "lepton": "launcher.backends.lepton",
    }
)


class NotSent(Unreachable):
    """Submitting ended before anything could have reached the backend: another try is safe, and there is
    nothing to stop."""


class NoRoom(NotSent):
    """The backend takes no more jobs, or not so many at once, until others have ended."""


class Backend(Protocol):
    def plan(self, run: RunPlan, job: JobPlan) -> Mapping[str, Any]:
        """Exactly what `submit` would send, as plain data with secrets by name; under `scripts` what the
        job runs, as texts by their names. Pure: no network, no disk."""

    def submit(self, run: RunPlan, job: JobPlan, attempt: int, secrets: Mapping[str, str]) -> JobHandle:
        """Starts the job, or adopts it where its key already stands (same key and attempt: same handle).
        `secrets` are values by the variable that they are from.

        Raises Unreachable where a later try may do better (NotSent where nobody has heard of this one), and
        other errors where none will.
        """

    def status(self, handles: Sequence[JobHandle]) -> Mapping[str, JobStatus]:
        """By key, with one question for all of them. What can't be asked is `unknown`, never an error. A
        handle without a native id that nothing was started for is `lost`."""

    def logs(self, handle: JobHandle, since: int) -> LogChunk:
        """The job's log from byte `since` on."""

    def cancel(self, handle: JobHandle) -> None:
        """A request, idempotent: a job that has ended or never started is no error."""

    def collect(self, handle: JobHandle, destination: Path) -> Path:
        """Brings the job's directory to `destination`, a folder of this machine (or finds it there already);
        can be repeated."""


class TakesMany(Backend, Protocol):
    """A backend that can be given several jobs of a run in one call."""

    def alike(self, run: RunPlan, job: JobPlan) -> Hashable | None:
        """Jobs for which this is the same can go together; one for which it is None goes alone. Pure."""

    def submit_together(
        self,
        run: RunPlan,
        jobs: Sequence[JobPlan],
        attempt: int,
        secrets: Mapping[str, Mapping[str, str]],
        after: Sequence[JobHandle] = (),
        *,
        at_once: int,
    ) -> Mapping[str, JobHandle]:
        """Like `submit`, all or none, `secrets` by the jobs' keys; of those that have started at most so
        many run `at_once`. Where some stand already, it is only these that are answered with."""


class StopsMany(Backend, Protocol):
    """A backend that can be asked in one call to stop several jobs of a run."""

    def cancel_together(self, handles: Sequence[JobHandle]) -> None:
        """Like `cancel` for each of them, and each as if it were alone; at least one is given."""


def load(name: str) -> Backend:
    """Raises UsageError for an unknown name, listing those that are known."""
    module = MODULES.get(name.strip().lower())
    if module is None:
        raise UsageError(f"unknown backend {name!r}", hint=f"known: {', '.join(sorted(MODULES))}")
    return cast(Backend, importlib.import_module(module))
