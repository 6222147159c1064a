"""A cluster that stays away: what is known all the same, when a job is given up, what isn't left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from catalog.errors import Unreachable
from fake_ray import FakeRay, handle_of, job
from launched import RESULTS_FILE, Place, changed, here, there
from launcher.backends import ray
from launcher.jobs import JobHandle, JobStatus, SecretName, State
from launcher.runs import run_directory as files
from launcher.runs import supervisor
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, tick

Clock = Callable[[float], None]
NONE = (404, "no")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Lets so many seconds pass for who asks Ray. What was asked to stop is asked again at once."""
    monkeypatch.setattr(supervisor, "STOP_AGAIN", 0.0)
    now = [1_000_000.0]

    def forward(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(ray, "time", SimpleNamespace(time=lambda: now[0]))
    return forward


def asked(place: Place, handle: JobHandle) -> JobStatus:
    return place.backend.status([handle])[handle.key]


def impatient(handle: JobHandle, then: str = "stop") -> JobHandle:
    return replace(handle, settings={**handle.settings, "poll_deadline": 100.0, "on_poll_failure": then})


def test_a_job_is_given_up_only_when_asked_to(
    faked: Place, fake: FakeRay, tmp_path: Path, later: Clock
) -> None:
    handle = handle_of(faked, faked.run(tmp_path, "true"))
    fake.answer = lambda *_: (503, "away")
    stopped, left = impatient(handle), impatient(handle, "leave")
    patient = replace(stopped, settings={**stopped.settings, "poll_deadline": 900.0})
    states = []
    for each in (stopped, left, stopped, left, patient):
        states.append(asked(faked, each).state)
        later(60)
    assert states == [State.UNKNOWN, State.UNKNOWN, State.LOST, State.UNKNOWN, State.UNKNOWN]
    # It is collected only once it could be stopped: nothing else may start in its place before.
    with pytest.raises(Unreachable):
        faked.backend.collect(stopped, tmp_path / "here")
    fake.answer = lambda *_: (200, job(handle, "RUNNING"))
    with pytest.raises(Unreachable, match="is still RUNNING; it is asked to stop"):
        faked.backend.collect(stopped, tmp_path / "here")
    assert ("POST", f"/api/jobs/evaldock-{handle.key}-1/stop") in fake.asked
    # The time without an answer begins anew.
    assert asked(faked, stopped).state is State.RUNNING
    fake.answer = lambda *_: (503, "away")
    assert asked(faked, stopped).state is State.UNKNOWN


def test_a_time_in_which_nobody_asked_does_not_count(
    faked: Place, fake: FakeRay, tmp_path: Path, later: Clock
) -> None:
    handle = impatient(handle_of(faked, faked.run(tmp_path, "true")))
    fake.answer = lambda *_: (503, "away")
    states = []
    for seconds in (0, 3600, 60, 60):
        later(seconds)
        states.append(asked(faked, handle).state)
    assert states == [State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.LOST]


def test_what_may_not_have_arrived_is_not_given_up(
    faked: Place, fake: FakeRay, tmp_path: Path, later: Clock, database: Database
) -> None:
    """Ray took the job, and its answer was lost: to be stopped it has to be found first."""
    settings = {**faked.settings, "poll_deadline": 100.0, "on_poll_failure": "stop"}
    run = faked.run(tmp_path, "true", settings=settings)
    database.record(run)
    fake.answer = lambda method, _: (502, "no answer") if method == "POST" else (404, "no")
    tick(database, run.run_id, {"EVALDOCK_RETRY_PAUSE": "0"})
    request_stop(database, run.run_id)
    fake.answer = lambda *_: (503, "away")
    for _ in range(4):
        later(60)
        (row,) = tick(database, run.run_id, {})
        assert not row.state.terminal
    handle = handle_of(faked, run)
    fake.answer = lambda *_: (200, job(handle, "RUNNING"))
    (row,) = tick(database, run.run_id, {})
    assert row.native_id == handle.native_id
    assert ("POST", f"/api/jobs/{handle.native_id}/stop") in fake.asked


def test_a_jobs_own_word_on_shared_storage_needs_no_ray(
    faked: Place, fake: FakeRay, tmp_path: Path, database: Database
) -> None:
    run = faked.run(tmp_path, "true")
    database.record(run)
    fake.answer = lambda method, _: (200, {}) if method == "POST" else (404, "no")
    tick(database, run.run_id, {})
    folder = there(run)
    (folder / "artifacts" / "results.yml").write_text(RESULTS_FILE)
    files.write_json(folder / files.EXIT, {"exit_code": 0, "reason": None, "attempt": 1})
    fake.answer = lambda *_: (503, "away")
    (row,) = tick(database, run.run_id, {})
    assert (row.state, row.native) == (State.SUCCEEDED, "unreachable")
    assert row.collected is not None
    assert (here(run) / "artifacts" / "results.yml").exists()


@pytest.mark.parametrize("code", [None, "0" * 64], ids=["no-answer", "no-archive"])
def test_secrets_do_not_outlive_a_job_that_never_came_to_be(
    faked: Place, fake: FakeRay, tmp_path: Path, database: Database, code: str | None
) -> None:
    secret = SecretName(name="KEY", source="KEY")
    run = changed(faked.run(tmp_path, "true"), secrets=(secret,), code=code)
    database.record(run)
    laid: list[bool] = []

    def answer(method: str, _: str) -> tuple[int, Any]:
        laid.append((there(run) / files.SECRETS).exists())
        return (502, "no answer") if method == "POST" else (404, "no")

    fake.answer = answer
    tick(database, run.run_id, {"KEY": "s3cret", "EVALDOCK_RETRY_PAUSE": "0"})
    assert (there(run) / files.SCRIPT).exists()
    assert any(laid) or code
    request_stop(database, run.run_id)
    (row,) = tick(database, run.run_id, {})
    assert row.state.terminal
    assert not list(tmp_path.rglob(files.SECRETS))


class Unfetchable:
    """A cluster whose jobs are as `states` says, and whose node keeps the logs of those in `busy`."""

    def __init__(self, fake: FakeRay) -> None:
        self.states: dict[str, str] = {}
        self.busy: set[str] = set()
        self.fake = fake
        fake.answer = self.answer

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if path.startswith("/api/v0/nodes"):
            return 200, {"data": {"result": {"result": [{"node_id": "n", "state": "ALIVE"}]}}}
        if path.startswith("/api/v0/logs"):
            return (500, "the node is busy") if any(key in path for key in self.busy) else NONE
        if path.startswith("/api/packages") or path.endswith("/stop"):
            return 200, {}
        if method == "POST":
            self.states[self.fake.bodies[-1]["submission_id"]] = "RUNNING"
            return 200, {}
        jobs = {
            identity: {"submission_id": identity, "status": state, "driver_node_id": "n"}
            for identity, state in self.states.items()
        }
        name = path.split("/")[3]
        return (200, jobs.get(name, {})) if name in jobs else (200, [*jobs.values()]) if not name else NONE


@pytest.fixture
def unfetchable(fake: FakeRay) -> Unfetchable:
    return Unfetchable(fake)


def elsewhere(fake: FakeRay) -> Place:
    """Without shared storage."""
    return Place("ray", remote="/node", settings={"dashboard_url": fake.url, "node_dir": "/node"})


def test_what_can_not_be_collected_yet_says_so_and_holds_up_nobody_else(
    fake: FakeRay, unfetchable: Unfetchable, tmp_path: Path, database: Database
) -> None:
    run = elsewhere(fake).run(tmp_path, "true", "true", parallel=2)
    database.record(run)
    tick(database, run.run_id, {})
    unfetchable.states = dict.fromkeys(unfetchable.states, "SUCCEEDED")
    unfetchable.busy = {run.jobs[0].key}
    slow, other = tick(database, run.run_id, {})
    assert (slow.state, slow.collected) == (State.SUCCEEDED, None)
    assert str(slow.reason).startswith("its results are not here yet: Ray at")
    assert "the node is busy" in str(slow.reason)
    assert other.collected is not None
    unfetchable.busy.clear()
    slow, _ = tick(database, run.run_id, {})
    assert slow.collected is not None
    assert "not here yet" not in str(slow.reason)


def test_a_failure_stops_all_only_when_no_try_is_left(
    fake: FakeRay, unfetchable: Unfetchable, tmp_path: Path, database: Database
) -> None:
    """One that can't be collected yet may still be tried again."""
    run = elsewhere(fake).run(tmp_path, "true", "true", parallel=2, retries=1, on_failure="stop-all")
    database.record(run)
    tick(database, run.run_id, {})
    (first, *_) = unfetchable.states
    unfetchable.states[first] = "STOPPED"
    unfetchable.busy = {run.jobs[0].key}
    rows = tick(database, run.run_id, {})
    assert [row.stop_reason for row in rows] == [None, None]
    unfetchable.busy.clear()
    rows = tick(database, run.run_id, {"EVALDOCK_RETRY_PAUSE": "0"})
    assert [(row.attempt, row.stop_reason) for row in rows] == [(2, None), (1, None)]
