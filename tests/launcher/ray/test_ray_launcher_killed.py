"""A launcher that is killed while it hands a job to Ray: the job runs once, whatever had arrived."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launched import RESULTS, supervise, there
from launcher.jobs import State
from launcher.runs.database import Database
from ray_place import ray_place

ROOT = Path(__file__).parents[3]
DYING = """
import os, sys
from pathlib import Path
from launcher.backends.ray_api import Cluster
from launcher.runs.database import Database
from launcher.runs.supervisor import tick

database, run, number, moment = sys.argv[1:]
ask, asked = Cluster._ask, []

def dying(cluster, method, path, **given):
    asked.append(path)
    last = len(asked) == int(number)
    if last and moment == "before":
        os._exit(9)
    answer = ask(cluster, method, path, **given)
    if last:
        os._exit(9)
    return answer

Cluster._ask = dying
tick(Database(Path(database)), run, {})
"""


@pytest.mark.parametrize(
    ("number", "moment"),
    [(1, "after"), (2, "before"), (2, "after")],
    ids=["before its files", "before it is sent", "before its id is noted"],
)
def test_it_runs_once(
    number: int, moment: str, request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> None:
    place = ray_place(request)
    run = place.run(tmp_path, "echo once >>{out}/count; " + RESULTS)
    database.record(run)
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(database.path), run.run_id, str(number), moment],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    (row,) = database.jobs(run.run_id)
    assert row.state is State.PLANNED
    (row,) = supervise(database, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 1)
    lines = (Path(run.directory) / "events.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["submitted", "terminal"]
    assert (there(run) / "artifacts" / "count").read_text() == "once\n"
