"""Lepton out of order: lost answers, two launchers at once, errors, tokens that are missing or go astray."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused, Unreachable
from launched import RESULTS, Place, ended, here, supervise, wait_for
from launcher.backends import lepton_api
from launcher.backends.protocol import NotSent
from launcher.jobs import State
from launcher.runs import supervisor
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, tick
from lepton_place import identity
from services.lepton import Lepton

WAITS = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS


@pytest.mark.parametrize("unique", [False, True], ids=["names-twice", "names-once"])
def test_an_answer_that_is_lost_makes_no_second_job(
    place: Place, lepton: Lepton, tmp_path: Path, database: Database, unique: bool
) -> None:
    lepton.change(settings={"unique_names": unique})
    lepton.fault("POST /jobs", "lose")
    run = place.run(tmp_path, "echo once >>{out}/count; " + RESULTS)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 1)
    assert len(lepton.look()["jobs"]) == 1
    assert (here(run) / "artifacts" / "count").read_text() == "once\n"


def test_of_two_launchers_on_two_machines_one_wins(
    place: Place, lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither finds a job of the name before it makes its own."""
    lepton.change(settings={"hold": True})
    run = place.run(tmp_path, WAITS)
    both = threading.Barrier(2)
    create = lepton_api.Lepton.create_job

    def at_once(self: lepton_api.Lepton, body: Mapping[str, Any]) -> str:
        both.wait(20)
        made = create(self, body)
        both.wait(20)
        return made

    monkeypatch.setattr(lepton_api.Lepton, "create_job", at_once)
    won: list[str] = []

    def launch(machine: str) -> None:
        handle = place.backend.submit(replace(run, directory=str(tmp_path / machine)), run.jobs[0], 1, {})
        won.append(identity(handle))

    threads = [threading.Thread(target=launch, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 2
    assert won[0] == won[1]
    states_of = {identity: job["status"]["state"] for identity, job in lepton.look()["jobs"].items()}
    assert states_of.pop(won[0]) == "Queueing"
    assert list(states_of.values()) == ["Deleted"]


@pytest.mark.parametrize(
    ("does", "error", "text"),
    [
        (401, NotSent, "Lepton knows no such token (401, the job): ordered to answer 401"),
        (403, NotSent, "Lepton does not let this token do that (403, the job)"),
        (422, Refused, "Lepton refused the job (422): ordered to answer 422"),
        (429, Unreachable, "Lepton answered 429 for the job: ordered to answer 429"),
        (503, Unreachable, "Lepton answered 503 for the job"),
        ("drop", Unreachable, "Lepton can't be reached"),
    ],
)
def test_trouble_is_told_by_kind(
    place: Place, lepton: Lepton, tmp_path: Path, *, does: int | str, error: type[Exception], text: str
) -> None:
    lepton.fault("POST /jobs", does)
    run = place.run(tmp_path, RESULTS)
    with pytest.raises(error) as raised:
        place.submit(run)
    assert text in str(raised.value)
    assert lepton.token not in str(raised.value)
    assert (type(raised.value) is NotSent) == (error is NotSent)
    # Another try does it.
    assert ended(place, place.submit(run)).state is State.SUCCEEDED


def test_a_list_that_lacks_a_job_does_not_make_it_lost(
    place: Place, lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = place.submit(place.run(tmp_path, WAITS))
    wait_for(Path(handle.directory) / "artifacts" / "ready")
    monkeypatch.setattr(lepton_api.Lepton, "jobs", lambda *_: [])
    assert place.backend.status([handle])[handle.key].state is State.RUNNING
    lepton.fault("GET /jobs", 503)
    assert place.backend.status([handle])[handle.key].state is State.UNKNOWN
    lepton.change(lose=[identity(handle)])
    assert place.backend.status([handle])[handle.key].state is State.LOST


@pytest.mark.parametrize(
    ("part", "does", "state"),
    [
        ("/replicas", 400, State.FAILED),
        ("/replicas/{}-0/log", 400, State.FAILED),
        ("/replicas/{}-0/log", 404, State.FAILED),
        ("/replicas/{}-0/log", 503, State.UNKNOWN),
        ("/events", 400, State.FAILED),
        ("/events", 404, State.FAILED),
    ],
)
def test_a_job_whose_log_is_not_given_out_ends_and_leaves_the_others_alone(
    place: Place, lepton: Lepton, tmp_path: Path, *, part: str, does: int, state: State
) -> None:
    run = place.run(tmp_path, "sleep 60", RESULTS)
    first = place.submit(run)
    for pid in lepton.look()["jobs"][identity(first)]["pids"]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    lepton.change(settings={"hold": True}, force={identity(first): "Failed"})
    other = replace(place.backend.submit(run, run.jobs[1], 1, {}), settings=run.settings)
    lepton.fault(f"GET /jobs/{identity(first)}{part.format(identity(first))}", does, times=99)
    answers = place.backend.status([first, other])
    assert [answer.state for answer in answers.values()] == [state, State.QUEUED]
    if state is State.FAILED:
        assert str(answers[first.key].reason).startswith("Lepton says Failed")
        assert place.backend.collect(first, here(run)) == here(run)


def test_who_has_no_token_is_told_what_to_set(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LEPTON_WORKSPACE_ID", "LEPTON_WORKSPACE_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(NotSent, match="no workspace for Lepton is known\n  set LEPTON_WORKSPACE_ID and"):
        place.submit(place.run(tmp_path, RESULTS))


def test_both_ways_to_name_token_and_workspace(
    place: Place, lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lepton.environ:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LEPTON_API_TOKEN", f"{lepton.name}:{lepton.token}")
    run = place.run(tmp_path, RESULTS, settings={**place.settings, "api_url": lepton.url})
    assert ended(place, place.submit(run)).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://api.example/v1", "the token for Lepton is not sent over http:// (api.example)"),
        ("https://api.example/v1", "is not sent to api.example, which is none of Lepton's hosts"),
        ("https://xlepton.ai/v1", "is not sent to xlepton.ai"),
        # One reading of these is a host of Lepton's, another is not.
        ("https://api.example\\@gateway.lepton.ai/v1", "it has a backslash"),
        ("https://api.example\\.lepton.ai/v1", "it has a backslash"),
        ("http://api.example\\@127.0.0.1/v1", "it has a backslash"),
        ("https://gateway.lepton.ai@api.example/v1", "it has a user name before its host"),
        ("https://api.example/@gateway.lepton.ai/v1", "is not sent to api.example"),
        ("https://api.example\t@gateway.lepton.ai/v1", "it has spaces or control characters"),
        (" https://gateway.lepton.ai/v1", "it has spaces or control characters"),
    ],
)
def test_a_configuration_leads_no_token_astray(lepton: Lepton, url: str, told: str) -> None:
    with pytest.raises(Refused) as raised, lepton_api.connected({"api_url": url}):
        pass
    assert told in raised.value.message
    with lepton_api.connected({"api_url": "https://gateway.dgxc-lepton.nvidia.com/api/v2/workspaces/x"}):
        pass


def test_a_long_list_of_jobs_is_read_to_its_end(
    place: Place, lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lepton.change(settings={"hold": True})
    monkeypatch.setattr(lepton_api, "PAGE", 2)
    run = place.run(tmp_path, *[RESULTS] * 5)
    handles = [place.backend.submit(run, job, 1, {}) for job in run.jobs]
    before = lepton.look()["counted"]["GET /jobs"]
    answers = place.backend.status(handles)
    assert [answer.native for answer in answers.values()] == ["Queueing"] * 5
    assert lepton.look()["counted"]["GET /jobs"] == before + 3


def test_a_job_of_another_workspace_is_not_taken_for_lost(
    place: Place,
    lepton: Lepton,
    elsewhere: Callable[[], AbstractContextManager[Lepton]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "STOP_AGAIN", 0.0)
    database = Database(tmp_path / "runs.db")
    run = place.run(tmp_path, WAITS)
    database.record(run)
    tick(database, run.run_id, {})
    with elsewhere() as beside:
        (row,) = tick(database, run.run_id, {})
        assert row.state is State.UNKNOWN
        assert row.reason == (
            f"{row.key} is in Lepton's workspace {lepton.name}, and the environment leads to "
            f"{beside.name}: export LEPTON_WORKSPACE_ID={lepton.name}, with its "
            "LEPTON_WORKSPACE_TOKEN and LEPTON_WORKSPACE_URL"
        )
        request_stop(database, run.run_id)
        tick(database, run.run_id, {})
        assert beside.look()["jobs"] == {}
    assert [job["status"]["state"] for job in lepton.look()["jobs"].values()] == ["Running"]
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.CANCELLED, "stopped on request")
    database.close()


def test_a_job_that_may_be_in_another_workspace_is_not_started_twice(
    place: Place, lepton: Lepton, elsewhere: Callable[[], AbstractContextManager[Lepton]], tmp_path: Path
) -> None:
    lepton.fault("POST /jobs", "lose")
    run = place.run(tmp_path, RESULTS)
    with pytest.raises(Unreachable):
        place.submit(run)
    with elsewhere() as beside:
        with pytest.raises(NotSent, match=f"is in Lepton's workspace {lepton.name}, and"):
            place.submit(run)
        assert beside.look()["jobs"] == {}
    assert ended(place, place.submit(run)).state is State.SUCCEEDED
    assert len(lepton.look()["jobs"]) == 1
