"""Models whose URL is known when a job is submitted: what rounds need of them.

Plans hold a placeholder (`launcher.plans.endpoint_names`). The code that asks who serves a model
(`launcher.lepton_endpoints`) is loaded where one occurs, and not for other runs.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from launcher.jobs import JobPlan, RunPlan
from launcher.plans.endpoint_names import MARKS, Waiting, own

__all__ = ["Waiting", "located", "marked", "release", "release_left_over"]


def located(run: RunPlan, job: JobPlan, state: Path) -> JobPlan:
    """The job with the URL of the endpoint that serves its model, which is made first where it is the run's
    own. `state` is the database's folder. Raises Waiting until it is ready, Refused where it won't be."""
    if job.endpoint.served_by is None:
        return job
    from launcher import lepton_endpoints  # noqa: PLC0415 # see above

    return lepton_endpoints.located(run, job, job.endpoint.served_by, state)


def release(run: RunPlan, state: Path) -> None:
    """Removes what was made for a run that has ended. Can be repeated; costs nothing once it is done."""
    if any(own(job) for job in run.jobs):
        from launcher import lepton_endpoints  # noqa: PLC0415 # see above

        lepton_endpoints.release(run.run_id, Path(run.directory), run.settings, state)


def marked(state: Path) -> dict[str, float]:
    """Runs whose endpoints were made from here and are not known to be gone, and how many seconds ago it was
    last tried to remove what another run had left."""
    found = {}
    folder = state / MARKS
    for mark in sorted(folder.iterdir()) if folder.is_dir() else ():
        # Another command may just have removed it.
        with suppress(FileNotFoundError):
            found[mark.name] = time.time() - mark.stat().st_mtime
    return found


def release_left_over(run_id: str, state: Path) -> None:
    """The same as `release`, for a run that the database may know no more."""
    from launcher import lepton_endpoints  # noqa: PLC0415 # see above

    lepton_endpoints.release_marked(run_id, state)
