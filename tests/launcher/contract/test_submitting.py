"""A key runs once, whoever submits it how often; what runs can be found from anywhere."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path

import pytest

from job_places import on
from launched import (
    RESULTS,
    Place,
    artifacts,
    ended,
    here,
    python,
    said,
    status,
    supervise,
    there,
    until,
    wait_for,
)
from launcher.jobs import JobHandle, State
from launcher.plans.plan_files import plan_to_data
from launcher.runs import handle as run_handle
from launcher.runs.database import Database

COUNT = "echo once >>{out}/count; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS
SUBMIT = """
import dataclasses, json, sys
from pathlib import Path
from launcher.backends.protocol import load
from launcher.plans.plan_files import plan_from_data
run = plan_from_data(json.loads(Path(sys.argv[1]).read_text()))
print("ready", flush=True)
sys.stdin.readline() if len(sys.argv) > 2 else None
handle = load(run.backend).submit(run, run.jobs[0], 1, {})
print(json.dumps(dataclasses.asdict(handle)))
"""
ASK = """
import json, sys
from launcher.backends.protocol import load
from launcher.jobs import JobHandle
handle = JobHandle(**json.loads(sys.argv[1]))
answer = load(handle.backend).status([handle])[handle.key]
print(answer.state, answer.exit_code)
"""


def go(handle: JobHandle) -> None:
    (artifacts(handle) / "go").touch()


def test_submitting_twice_adopts(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, COUNT)
    first = place.submit(run)
    assert place.submit(run) == first
    go(first)
    assert ended(place, first).state is State.SUCCEEDED
    assert place.submit(run) == first
    place.collect(run, first)
    assert place.submit(run) == first
    assert ended(place, first).state is State.SUCCEEDED
    assert (artifacts(first) / "count").read_text() == "once\n"


def test_two_processes_that_submit_at_once_run_it_once(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, COUNT)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(plan_to_data(run)))
    both = [python(SUBMIT, str(plan)) for _ in range(3)]
    handles = [json.loads(said(process).splitlines()[-1]) for process in both]
    assert handles[0] == handles[1] == handles[2]
    handle = JobHandle(**{**handles[0], "settings": run.settings})
    wait_for(artifacts(handle) / "count")
    go(handle)
    assert ended(place, handle).state is State.SUCCEEDED
    assert (artifacts(handle) / "count").read_text() == "once\n"
    place.collect(run, handle)


def test_another_process_finds_it_by_its_handle(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, COUNT)
    handle = place.submit(run)
    wait_for(artifacts(handle) / "count")
    data = dataclasses.asdict(handle)
    assert said(python(ASK, json.dumps(data))).split() == ["running", "None"]
    go(handle)
    ended(place, handle)
    assert said(python(ASK, json.dumps(data))).split() == ["succeeded", "0"]
    place.collect(run, handle)


def test_a_run_is_adopted_with_a_fresh_database(place: Place, tmp_path: Path, database: Database) -> None:
    run = place.run(tmp_path, COUNT, COUNT)
    first = place.submit(run)
    database.record(run)
    database.submitted(first)
    run_handle.write(database, run)
    go(first)
    other = Database(tmp_path / "elsewhere" / "runs.db")
    try:
        adopted = run_handle.adopt(other, Path(run.directory))
        assert adopted == run
        wanted = there(run, 1) / "artifacts"
        wanted.mkdir(parents=True, exist_ok=True)
        (wanted / "go").touch()
        rows = supervise(other, adopted)
    finally:
        other.close()
    assert [(row.state, row.attempt) for row in rows] == [(State.SUCCEEDED, 1)] * 2
    assert rows[0].native_id == first.native_id
    assert [(artifacts_of / "count").read_text() for artifacts_of in (artifacts(first), wanted)] == [
        "once\n"
    ] * 2


def test_who_cannot_be_reached_is_unknown(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place.run(tmp_path, COUNT)
    handle = place.submit(run)
    wait_for(artifacts(handle) / "count")
    environ, cut = place.cut(handle)
    with monkeypatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        answer = status(place, cut)
    assert answer.state is State.UNKNOWN
    assert answer.reason
    assert status(place, handle).state is State.RUNNING
    go(handle)
    assert ended(place, handle).state is State.SUCCEEDED
    place.collect(run, handle)


@on(asked=True)
def test_an_answer_that_says_nothing_is_unknown(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place.run(tmp_path, COUNT)
    handle = place.submit(run)
    wait_for(artifacts(handle) / "count")
    with place.mute(handle) as (environ, mute), monkeypatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        answer = status(place, mute)
    assert (answer.state, answer.exit_code) == (State.UNKNOWN, None)
    assert answer.reason
    assert status(place, handle).state is State.RUNNING
    go(handle)
    assert ended(place, handle).state is State.SUCCEEDED
    place.collect(run, handle)


def test_planning_opens_no_socket(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place.run(tmp_path, COUNT)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    planned = place.backend.plan(run, run.jobs[0])
    assert planned["backend"] == place.name
    assert json.loads(json.dumps(planned)) == planned
    assert not Path(run.directory).exists()


def test_what_a_job_leaves_is_alike_everywhere(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "echo hello; echo 1 >{out}/progress; " + RESULTS)
    handle = place.submit(run)
    folder = here(run)
    assert ended(place, handle).exit_code == 0
    place.collect(run, handle)
    for name in ("stage.pre-start", "stage.running", "stage.exit"):
        assert "time" in json.loads((folder / name).read_bytes())
    left = json.loads((folder / "exit.json").read_bytes())
    assert sorted(left) == ["attempt", "ended", "exit_code", "reason", "started"]
    assert (left["exit_code"], left["reason"], left["attempt"]) == (0, None, 1)
    assert left["started"] <= left["ended"]
    assert (folder / "logs" / "job.log").read_text() == "hello\n"
    assert sorted(path.name for path in (folder / "artifacts").iterdir()) == [
        "progress",
        "results.yml",
        "run_config.yml",
    ]
    assert not [path for path in folder.iterdir() if path.name.startswith((".secrets", ".full", ".reserve"))]


def test_collecting_is_repeated_and_goes_on_after_an_interruption(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "echo done; " + RESULTS)
    handle = place.submit(run)
    ended(place, handle)
    source = Path(handle.directory)
    destination = tmp_path / "collected"
    (destination / "artifacts").mkdir(parents=True)
    (destination / "artifacts" / "results.yml").write_text("resu")  # as a copy that was cut off leaves it
    assert place.backend.collect(handle, destination) == destination
    assert place.backend.collect(handle, destination) == destination
    assert place.collect(run, handle) == here(run)
    assert json.loads((source / "job.json").read_text())["key"] == handle.key
    for name in ("job.json", "exit.json", "artifacts/results.yml", "logs/job.log"):
        assert (destination / name).read_bytes() == (source / name).read_bytes()


def test_logs_come_by_cursor_while_it_runs(place: Place, tmp_path: Path) -> None:
    command = (
        r"printf 'caf\303'; touch {out}/half; until [ -e {out}/go ]; do sleep 0.1; done; printf '\251\nend\n'"
    )
    run = place.run(tmp_path, command)
    handle = place.submit(run)
    wait_for(artifacts(handle) / "half")
    first = place.backend.logs(handle, 0)
    assert (first.data, first.next) == (b"caf\xc3", 4)
    assert place.backend.logs(handle, first.next).data == b""
    assert status(place, handle).state is State.RUNNING
    go(handle)
    ended(place, handle)
    rest = place.backend.logs(handle, first.next)
    assert (first.data + rest.data).decode() == "café\nend\n"
    assert until(lambda: place.backend.logs(handle, rest.next).next == rest.next)
    place.collect(run, handle)
