"""What was made for runs beside their jobs goes when these have ended, whatever became of their launchers.

What can't be removed is no error of the command that tries: it is said, and the next command tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from catalog.errors import EvaldockError
from launcher.jobs import RunPlan
from launcher.plans import served_models
from launcher.runs.database import Database
from launcher.runs.judging import finished

# Seconds between tries to remove what another run left, and those after which a command begins no more.
TRY_AGAIN, ENOUGH = 60.0, 20.0
_LOG = logging.getLogger(__name__)


def release(database: Database, plan: RunPlan, say: Callable[[str], None]) -> None:
    """Of a run whose round it is."""
    if finished(database.jobs(plan.run_id)):
        _try(lambda: served_models.release(plan, database.path.parent), say)


def left_over(database: Database, tried: float = 0.0) -> list[str]:
    """Runs that have ended, or that the database knows no more, and whose endpoints are not known to be gone.
    `tried` is how many seconds ago at least."""
    found = served_models.marked(database.path.parent)
    return [run_id for run_id, ago in found.items() if ago >= tried and finished(database.jobs(run_id))]


def release_left_over(database: Database, *, but: str = "") -> None:
    """Of all other runs."""
    state, until = database.path.parent, time.monotonic() + ENOUGH
    for run_id in left_over(database, TRY_AGAIN):
        if time.monotonic() > until:
            return
        if run_id != but:
            _try(lambda run_id=run_id: served_models.release_left_over(run_id, state))  # type: ignore[misc]


def _try(remove: Callable[[], None], say: Callable[[str], None] = lambda _: None) -> None:
    try:
        remove()
    except (EvaldockError, OSError) as error:
        say(f"an endpoint on Lepton has to be removed later: {error}")
        _LOG.warning("an endpoint on Lepton was not removed; the next command tries again: %s", error)
