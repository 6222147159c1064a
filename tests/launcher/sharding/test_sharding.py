"""One evaluation in several jobs, and the result that it would have had in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.errors import InvalidInput
from launched import Place, here, states, supervise
from launcher.jobs import RunPlan, State
from launcher.results.recording import records_of
from launcher.runs import run_id
from launcher.runs.database import Database
from planned_runs import HARNESSES, plan
from standins import standin, stats

QUICKCHECK = HARNESSES / "quickcheck"
pytestmark = pytest.mark.timeout(900)  # the image and the environment are made once, on an empty cache


def asked(place: Place, url: str, *tasks: Any, **execution: Any) -> dict[str, Any]:
    return {
        "execution": place.beside(**execution),
        "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
        "evaluation": {"tasks": list(tasks)},
    }


@pytest.fixture
def sharded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environments: Path
) -> Callable[..., RunPlan]:
    """A run of quickcheck, in an image or an environment of its own."""
    monkeypatch.setenv("EVALDOCK_CACHE", str(environments))

    def made(place: Place, url: str, *tasks: Any, **execution: Any) -> RunPlan:
        identity = run_id.new()
        run = plan(
            asked(place, url, *tasks, **execution),
            directory=tmp_path / identity,
            identity=identity,
            keep=True,
        )
        if not place.contained:
            return run
        image = request.getfixturevalue("harness_image")(QUICKCHECK)
        return replace(run, jobs=tuple(replace(job, image=image) for job in run.jobs))

    return made


def results(folder: Path) -> dict[str, Any]:
    """All that doesn't depend on how quickly the endpoint answered this time."""
    read = yaml.safe_load((folder / "artifacts" / "results.yml").read_bytes())
    ((task, found),) = read["results"]["tasks"].items()
    metrics = found.pop("metrics")
    steady = {name: value for name, value in metrics.items() if not name.startswith("latency")}
    assert steady
    return {**read["results"], "task": task, "metrics": steady}


def items(folder: Path) -> dict[str, Any]:
    read = json.loads((folder / "artifacts" / "workflow_output.json").read_bytes())
    return {item["id"]: item["score"] for item in read}


def test_the_parts_make_the_result_of_the_whole(
    place: Place, sharded: Callable[..., RunPlan], database: Database, tmp_path: Path
) -> None:
    with standin(tmp_path) as url:
        whole = sharded(place, url, "quickcheck.chat")
        parts = sharded(place, url, {"name": "quickcheck.chat", "shards": 3}, mode="parallel")
        for run in (whole, parts):
            database.record(run)
        (row,) = supervise(database, whole)
        assert (row.state, row.reason) == (State.SUCCEEDED, None)
        rows = supervise(database, parts)
        assert [(each.state, each.reason) for each in rows] == [(State.SUCCEEDED, None)] * 4
        assert stats(url)["requests"] == 2 * 20
    assert [row.task for row in rows] == [*(f"quickcheck.chat {at}/3" for at in (1, 2, 3)), "quickcheck.chat"]
    last = Path(parts.directory) / parts.jobs[-1].directory
    assert items(last) == items(here(whole))
    assert results(last) == results(here(whole))
    own = [len(items(Path(parts.directory) / job.directory)) for job in parts.jobs[:-1]]
    assert sum(own) == 20
    assert min(own) >= 6
    ((record, samples),), refused = records_of(database, parts.run_id, environ={})
    ((other, same),), _ = records_of(database, whole.run_id, environ={})
    assert refused == []
    assert (record.task_sha, record.params_sha) == (other.task_sha, other.params_sha)
    assert [metric.label for metric in record.metrics] == [metric.label for metric in other.metrics]
    assert record.metrics[0] == other.metrics[0]
    assert (record.overrides, record.params, samples) == (other.overrides, other.params, same)
    assert record.run == f"{parts.run_id}-003"
    assert str(record.started) <= str(record.ended)


def test_a_part_that_fails_leaves_no_result(
    on_process: Place, sharded: Callable[..., RunPlan], database: Database
) -> None:
    run = sharded(
        on_process,
        "http://127.0.0.1:9/v1",
        {"name": "quickcheck.chat", "shards": 2, "params": {"max_retries": 0}},
        mode="parallel",
    )
    database.record(run)
    rows = supervise(database, run)
    assert states(rows) == [State.FAILED] * 3
    assert str(rows[2].reason).startswith("its dependency quickcheck.chat 1/2")
    made, _ = records_of(database, run.run_id, environ={})
    assert made == []


def test_the_plan_names_parts_inputs_and_one_question(on_process: Place) -> None:
    run = plan(asked(on_process, "http://h/v1", {"name": "quickcheck.chat", "shards": 12}))
    whole = plan(asked(on_process, "http://h/v1", "quickcheck.chat")).jobs[0]
    *parts, last = run.jobs
    assert [part.kind for part in parts] == ["shard"] * 12
    assert {part.params_sha for part in run.jobs} == {whole.params_sha}
    assert {part.task_sha for part in run.jobs} == {whole.task_sha}
    assert parts[6].config["config"]["params"]["extra"]["shard"] == "7/12"
    assert "--shard 7/12" in parts[6].command
    assert parts[6].directory == "jobs/006-quickcheck.chat-m-7of12".replace("-m-", "-stand-in-")
    assert (last.kind, last.overrides) == ("evaluation", whole.overrides)
    assert last.depends_on == tuple(part.key for part in parts)
    assert list(last.inputs) == [f"shard{at:02d}" for at in range(1, 13)]
    assert last.command.startswith(
        "quickcheck merge /runs/one/jobs/000-quickcheck.chat-stand-in-1of12/artifacts"
    )
    assert last.command.endswith("--output-dir /runs/one/jobs/012-quickcheck.chat-stand-in/artifacts")
    contained = plan(
        {
            **asked(on_process, "http://h/v1"),
            "execution": {"type": "docker"},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "shards": 2}]},
        }
    )
    assert (
        contained.jobs[-1].command == "quickcheck merge /inputs/shard1 /inputs/shard2 --output-dir /results"
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            {"name": "trap.one", "shards": 2},
            "trap can't be sharded: its entry 'trap' in mapping.toml doesn't have the ability 'shards'",
        ),
        (
            {"name": "quickcheck.chat", "shards": 2, "params": {"extra": {"shard": "1/9"}}},
            "`shards` sets config.params.extra.shard itself",
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused(on_process: Place, task: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match="can't be planned") as caught:
        plan(asked(on_process, "http://h/v1", task))
    assert said in str(caught.value)
