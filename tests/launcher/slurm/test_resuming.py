"""quickcheck on a real cluster, which goes on from its checkpoint after whatever ended it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cuttable import relay
from launched import Place, changed, here, items, supervise, there, until
from launcher.jobs import RunPlan, SecretName, State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database, JobRow
from launcher.runs.supervisor import resume, tick
from planned_runs import plan
from services.slurm import Slurm
from services.sshd import Sshd
from slurm_place import slurm_place
from standins import standin, stats

pytestmark = pytest.mark.timeout(600)
ENVIRON = {"HOST_KEY": "only-for-the-stand-in", "EVALDOCK_RETRY_PAUSE": "0.1"}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with standin(tmp_path, "--latency", "0.3") as address:
        yield address


def planned(place: Place, folder: Path, url: str) -> RunPlan:
    run = plan(
        {
            "execution": place.configuration(),
            "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"parallelism": 2}}]},
        },
        directory=folder / "run",
        identity=run_id.new(),
        keep=True,
    )
    return changed(run, secrets=(SecretName(name="KEY", source="HOST_KEY"),))


def begun(database: Database, run: RunPlan) -> JobRow:
    """The job, a few items on."""
    database.record(run)
    tick(database, run.run_id, ENVIRON)
    until(lambda: len(items(run)) >= 3, "three items are finished", patience=240)
    (row,) = database.jobs(run.run_id)
    return row


def check_whole(run: RunPlan, before: list[bytes], url: str) -> None:
    """Every item once, those from before as they were, no more questions than needed."""
    now = [line for line in items(run) if line.endswith(b"}")]
    assert now[: len(before)] == before
    assert len({json.loads(line)["id"] for line in now}) == 20
    # Two are under way at any time, and lost with what was asked them.
    assert stats(url)["requests"] <= 20 + 2
    scores = {metric.label: metric.value for metric in results_file.read(here(run) / "artifacts").metrics}
    assert scores["accuracy"] == 1.0
    assert not [*there(run).rglob(".secrets*")]


def test_queued_again_by_slurm(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database, url: str
) -> None:
    run = planned(on_slurm, tmp_path, url)
    row = begun(database, run)
    slurm.run("scontrol", "requeue", str(row.native_id))
    until(lambda: "RUNNING" not in slurm.run("squeue", "-h", "-j", str(row.native_id), "-o", "%T"))
    before = items(run)
    (ended,) = supervise(database, run, ENVIRON)
    assert (ended.state, ended.reason, ended.attempt) == (State.SUCCEEDED, None, 1)
    assert ended.native_id == row.native_id
    check_whole(run, before, url)
    assert "started again by Slurm" in (here(run) / "logs" / "job.log").read_text()


def test_cancelled_from_outside_and_resumed(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database, url: str
) -> None:
    run = planned(on_slurm, tmp_path, url)
    row = begun(database, run)
    slurm.run("scancel", str(row.native_id))
    (ended,) = supervise(database, run, ENVIRON)
    assert (ended.state, ended.reason) == (State.FAILED, "stopped from outside")
    assert not [*there(run).rglob(".secrets*")]
    before = items(run)
    assert resume(database, run.run_id) == [row.key]
    (ended,) = supervise(database, run, ENVIRON)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
    check_whole(run, before, url)


def test_on_a_node_that_dies(
    request: pytest.FixtureRequest, slurm: Slurm, tmp_path: Path, database: Database, url: str
) -> None:
    place = slurm_place(request)
    run = planned(place, tmp_path, url)
    run = replace(run, settings={**run.settings, "partition": "fragile"})
    row = begun(database, run)
    slurm.kill_node("n3")
    before = items(run)
    until(lambda: "PENDING" in slurm.run("squeue", "-h", "-j", str(row.native_id), "-o", "%T"), "it waits")
    slurm.start_node("n3")
    (ended,) = supervise(database, run, ENVIRON)
    assert (ended.state, ended.reason, ended.attempt) == (State.SUCCEEDED, None, 1)
    check_whole(run, before, url)


def test_while_the_connection_is_cut(
    request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path, database: Database, url: str
) -> None:
    with relay(sshd.port) as between:
        sshd.introduce(Path.home(), "far", port=between.port)
        run = planned(slurm_place(request, hostname="far"), tmp_path, url)
        row = begun(database, run)
        assert between.accepted == 1
        between.cut()
        (unsure,) = tick(database, run.run_id, ENVIRON)
        assert unsure.state is State.UNKNOWN
        assert "far" in str(unsure.reason)
        between.mend()
        (ended,) = supervise(database, run, ENVIRON)
        assert (ended.state, ended.attempt, ended.native_id) == (State.SUCCEEDED, 1, row.native_id)
        assert between.accepted == 2
        check_whole(run, [], url)
