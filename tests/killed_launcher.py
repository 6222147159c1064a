"""A launcher that is killed (-9) at a moment that a test chooses."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from launched import python
from launcher.jobs import RunPlan
from launcher.plans.plan_files import plan_to_data
from launcher.runs.database import Database

# Kills its own process before or after the function that it is told.
LAUNCHER = """
import importlib, json, os, signal, sys
from pathlib import Path
from launcher.runs import handle
from launcher.runs.database import Database
from launcher.plans.plan_files import plan_from_data
from launcher.runs.watching import until_finished

state, plan, module, name, when = sys.argv[1:]
*outer, last = name.split(".")
owner = importlib.import_module(module)
for part in outer:
    owner = getattr(owner, part)
real = getattr(owner, last)

def fatal(*args, **given):
    if when == "after":
        real(*args, **given)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, last, fatal)
run = plan_from_data(json.loads(Path(plan).read_text()))
database = Database(Path(state))
database.record(run)
handle.write(database, run)
until_finished(database, run.run_id, {"HOST_KEY": "s3cret"})
"""


def launch_until_killed(moment: tuple[str, str, str], run: RunPlan, folder: Path, database: Database) -> None:
    """`moment`: a module, a dotted name in it, and whether it dies `before` or `after` that is called."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps(plan_to_data(run)))
    launcher = python(LAUNCHER, str(database.path), str(plan), *moment)
    _, err = launcher.communicate(timeout=60)
    assert launcher.returncode == -signal.SIGKILL, err
