"""A Ray head that is stopped under its jobs: what was going on goes on later, from its checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from launched import here, items, states, status, supervise, there, until
from launcher.backends import processes
from launcher.jobs import State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import resume, tick
from planned_runs import plan
from ray_place import place_on, shared_root
from services.fixtures import Heads
from services.shared import Shared
from standins import standin, stats


def test_quickcheck_goes_on_after_the_head_was_killed(
    own_ray_heads: Heads, shared: Shared, tmp_path: Path, database: Database
) -> None:
    head = own_ray_heads(None)
    place = place_on(head, shared_root(shared))
    with standin(tmp_path, "--latency", "0.8") as url:
        data = {
            "execution": place.configuration(),
            "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"parallelism": 2}}]},
        }
        run = plan(data, directory=tmp_path / "run", identity=run_id.new(), keep=True)
        database.record(run)
        tick(database, run.run_id, {})
        until(lambda: len(items(run)) >= 3, "three items are finished", patience=240)
        (row,) = database.jobs(run.run_id)
        head.kill()
        assert states(tick(database, run.run_id, {})) == [State.UNKNOWN]
        until((there(run) / "exit.json").exists, "the node ends what nobody watches over")
        before = items(run)
        assert 3 <= len(before) < 20
        own_ray_heads(head)
        # The new head has never heard of it: the job's own word stands.
        handle = replace(place.submit(run), settings=run.settings)
        answer = status(place, handle)
        assert (answer.state, answer.native, answer.exit_code) == (State.CANCELLED, "unknown", 143)
        (row,) = supervise(database, run)
        assert (row.state, row.reason, row.attempt) == (State.FAILED, "stopped from outside", 1)
        first = stats(url)["requests"]
        assert resume(database, run.run_id) == [row.key]
        (row,) = supervise(database, run)
        assert (row.state, row.reason, row.attempt) == (State.SUCCEEDED, None, 2)
        assert items(run)[: len(before)] == before
        assert len({json.loads(line)["id"] for line in items(run)}) == 20
        assert stats(url)["requests"] - first == 20 - len(before)
    scores = {metric.label: metric.value for metric in results_file.read(here(run) / "artifacts").metrics}
    assert scores["accuracy"] == 1.0
    assert processes.belonging(f"{row.key}/") == []
