"""quickcheck through every backend: scores, and a resumed attempt that goes on where the first was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import Place, changed, here, items, states, supervise, until
from launcher.jobs import RunPlan, State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import resume, tick
from planned_runs import HARNESSES, plan
from standins import standin, stats

QUICKCHECK = HARNESSES / "quickcheck"
pytestmark = pytest.mark.timeout(900)  # the image and the environment are made once, on an empty cache


@pytest.fixture
def checked(
    place: Place,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    environments: Path,
) -> Callable[..., RunPlan]:
    """A run of quickcheck.chat, in an image or an environment of its own."""
    monkeypatch.setenv("EVALDOCK_CACHE", str(environments))

    def made(url: str, **params: Any) -> RunPlan:
        data = {
            "execution": place.beside(),
            "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": params}]},
        }
        run = plan(data, directory=tmp_path / "run", identity=run_id.new(), keep=True)
        if place.contained:
            run = changed(run, image=request.getfixturevalue("harness_image")(QUICKCHECK))
        return run

    return made


def test_a_killed_attempt_is_resumed_from_its_checkpoint(
    place: Place, checked: Callable[..., RunPlan], tmp_path: Path, database: Database
) -> None:
    with standin(tmp_path, "--latency", "0.3") as url:
        run = checked(url, parallelism=2)
        database.record(run)
        tick(database, run.run_id, {})
        until(lambda: len(items(run)) >= 3, "three items are finished", patience=240)
        (row,) = database.jobs(run.run_id)
        handle = row.handle(place.name)
        assert handle is not None
        place.killed(replace(handle, settings=run.settings))
        assert states(supervise(database, run)) == [State.FAILED]
        before = items(run)
        assert 3 <= len(before) < 20
        first = stats(url)["requests"]
        assert resume(database, run.run_id) == [row.key]
        (row,) = supervise(database, run)
        assert (row.state, row.reason, row.attempt) == (State.SUCCEEDED, None, 2)
        assert items(run)[: len(before)] == before
        assert len({json.loads(line)["id"] for line in items(run)}) == 20
        assert stats(url)["requests"] - first == 20 - len(before)
    folder = here(run)
    scores = {metric.label: metric.value for metric in results_file.read(folder / "artifacts").metrics}
    assert scores["accuracy"] == 1.0
    # A container that is killed leaves no exit.json, but what it had printed.
    assert (folder / "attempts" / "1" / "job.log").exists()


def test_an_endpoint_that_is_down_fails_the_job(checked: Callable[..., RunPlan], database: Database) -> None:
    run = checked("http://127.0.0.1:9/v1", max_retries=0, limit_samples=2)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.exit_code) == (State.FAILED, 1)
    log = here(run) / "logs" / "job.log"
    assert "0 of 2 items passed, 2 without a reply" in log.read_text()
