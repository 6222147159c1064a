"""What the backend makes of a cluster that answers badly, late or not at all. The faults are a server's."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused, Unreachable
from fake_ray import FakeRay, handle_of, job
from launched import Place, changed
from launcher.backends import ray_api
from launcher.backends.protocol import NotSent
from launcher.backends.ray_api import Cluster, find_token
from launcher.jobs import SecretName, State
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, tick

# What Ray 2.60 answers, shortened.
EXISTS = """Traceback (most recent call last):
  File "job_head.py", line 419, in submit_job
RuntimeError: Request failed with status code 500: Traceback (most recent call last):
ValueError: Job with submission_id {id} already exists. Please use a different submission_id.
."""
UNKNOWN_KEY = (
    "TypeError: JobSubmitRequest.__init__() got an unexpected keyword argument 'entrypoint_label_selector'"
)
NO_AGENT = "No available agent to submit job, please try again later."


def test_what_already_exists_is_adopted(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    run = faked.run(tmp_path, "true")
    fake.answer = lambda method, _: (500, EXISTS) if method == "POST" else (404, "no")
    handle = faked.submit(run)
    assert handle.native_id == f"evaldock-{run.jobs[0].key}-1"
    assert [method for method, _ in fake.asked] == ["GET", "POST"]


def test_storage_is_written_where_this_machine_sees_it(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    """The nodes' own path need not exist here."""
    there = {
        **faked.settings,
        "shared_dir": "/nowhere/here/",
        "shared_dir_here": faked.settings["shared_dir"],
    }
    elsewhere = Place("ray", remote="/nowhere/here", settings=there)
    run = elsewhere.run(tmp_path, "true")
    fake.answer = lambda method, _: (200, {}) if method == "POST" else (404, "no")
    handle = elsewhere.submit(run)
    assert handle.directory == f"/nowhere/here/{run.run_id}/{run.jobs[0].directory}"
    assert fake.bodies[-1]["entrypoint"].partition("exec sh ")[2].startswith("/nowhere/here/")
    laid = Path(str(faked.remote)) / run.run_id / run.jobs[0].directory
    assert (laid / "run.sh").is_file()


def test_what_is_no_dashboard_is_told_as_such(fake: FakeRay) -> None:
    fake.answer = lambda *_: (404, "<html>no such page</html>")
    with pytest.raises(Unreachable, match="does not talk like Ray's dashboard") as caught:
        Cluster(fake.url).version()
    assert "execution.dashboard_url" in str(caught.value.hint)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = threading.Thread(target=_answer_in_another_language, args=(silent,))
        answer.start()
        with pytest.raises(NotSent, match="does not talk HTTP"):
            Cluster(f"http://127.0.0.1:{silent.getsockname()[1]}").version()
        answer.join()


def _answer_in_another_language(server: socket.socket) -> None:
    """As Ray's own port, which speaks HTTP/2; each try comes on a connection of its own."""
    for _ in range(ray_api.TRIES):
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(bytes.fromhex("0000180400000000000000000400400000"))


def test_an_adopted_job_s_files_are_left_alone(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    run = faked.run(tmp_path, "true")
    fake.answer = lambda *_: (200, job(handle_of(faked, run), "RUNNING"))
    faked.submit(run)
    assert not Path(run.folder(run.jobs[0])).exists()


def test_a_cluster_that_knows_no_labels_refuses_the_job(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    run = faked.run(tmp_path, "true", settings={**faked.settings, "entrypoint_label_selector": {"zone": "a"}})
    fake.answer = lambda method, _: (400, UNKNOWN_KEY) if method == "POST" else (404, "no")
    with pytest.raises(Refused) as caught:
        faked.submit(run, secrets={})
    assert "does not know entrypoint_label_selector (Ray 2.54 does)" in str(caught.value)


def test_a_secret_does_not_outlive_a_refusal(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    run = changed(faked.run(tmp_path, "true"), secrets=(SecretName(name="KEY", source="KEY"),))
    seen: list[bool] = []

    def answer(method: str, _: str) -> tuple[int, Any]:
        if method != "POST":
            return 404, "no"
        seen.append((Path(run.folder(run.jobs[0])) / ".secrets").exists())
        return 400, "TypeError: what is this"

    fake.answer = answer
    with pytest.raises(Refused, match="refused the job: TypeError: what is this"):
        faked.submit(run, secrets={"KEY": "s3cret"})
    assert seen == [True]
    assert not list(tmp_path.rglob(".secrets"))


@pytest.mark.parametrize(("answer", "kind"), [((500, NO_AGENT), NotSent), ((500, "gone wrong"), Unreachable)])
def test_a_cluster_without_an_agent_is_tried_again(
    faked: Place, fake: FakeRay, tmp_path: Path, answer: tuple[int, Any], kind: type[Exception]
) -> None:
    run = faked.run(tmp_path, "true")
    fake.answer = lambda method, _: answer if method == "POST" else (404, "no")
    with pytest.raises(kind) as caught:
        faked.submit(run)
    assert type(caught.value) is kind


def test_a_late_answer_is_no_answer(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    run = faked.run(tmp_path, "true", settings={**faked.settings, "request_timeout": 0.2})
    fake.answer = lambda *_: (0, "")
    answer = faked.backend.status([handle_of(faked, run)])[run.jobs[0].key]
    assert (answer.state, answer.native) == (State.UNKNOWN, "unreachable")
    assert "does not answer" in str(answer.reason)


def test_an_error_once_is_asked_again(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    handle = handle_of(faked, faked.run(tmp_path, "true"))
    answers = iter([(500, "Internal Server Error"), (200, job(handle, "RUNNING"))])
    fake.answer = lambda *_: next(answers)
    assert faked.backend.status([handle])[handle.key].state is State.RUNNING


@pytest.mark.parametrize(
    "answer", [(500, "Internal Server Error"), (200, "<html>"), (302, "elsewhere"), (200, [1])]
)
def test_what_is_no_answer_is_unknown(
    faked: Place, fake: FakeRay, tmp_path: Path, answer: tuple[int, Any]
) -> None:
    handle = handle_of(faked, faked.run(tmp_path, "true"))
    fake.answer = lambda *_: answer
    assert faked.backend.status([handle])[handle.key].state is State.UNKNOWN


def test_many_jobs_are_one_question(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    run = faked.run(tmp_path, *["true"] * 50)
    first = handle_of(faked, run)
    handles = [replace(first, key=one.key, native_id="", directory=run.folder(one)) for one in run.jobs]
    known = [
        job(handles[0], "RUNNING"),
        job(handles[1], "PENDING"),
        {"type": "DRIVER", "submission_id": None},
    ]
    fake.answer = lambda *_: (200, known)
    answers = faked.backend.status(handles)
    assert fake.asked == [("GET", "/api/jobs/")]
    assert [answers[h.key].state for h in handles[:3]] == [State.RUNNING, State.QUEUED, State.LOST]


@pytest.mark.parametrize("failure", ["answer", "helper"])
def test_one_failed_request_to_stop_does_not_spare_the_others(
    faked: Place, fake: FakeRay, tmp_path: Path, database: Database, failure: str
) -> None:
    run = faked.run(tmp_path, "true", "true", "true", parallel=3)
    database.record(run)
    known: dict[str, str] = {}

    def answer(method: str, path: str) -> tuple[int, Any]:
        name = path.rstrip("/").split("/")[3] if path.count("/") > 3 or path[10:] else ""
        if method == "POST" and path == "/api/jobs/":
            asked = fake.bodies[-1]["submission_id"]
            if asked.endswith("-unqueue"):
                return 400, "TypeError: not this one"
            known[asked] = "PENDING" if failure == "helper" and "-001-" in asked else "RUNNING"
            return 200, {}
        if path.endswith("/stop"):
            return (500, "no") if failure == "answer" and "-001-" in name else (200, {"stopped": True})
        if path == "/api/jobs/":
            return 200, [{"submission_id": each, "status": state} for each, state in known.items()]
        return (200, {"submission_id": name, "status": known[name]}) if name in known else (404, "no")

    fake.answer = answer
    tick(database, run.run_id, {})
    request_stop(database, run.run_id)
    tick(database, run.run_id, {})
    stopped = sorted(path.split("/")[3] for method, path in fake.asked if path.endswith("/stop"))
    assert stopped == [f"evaldock-{one.key}-1" for one in run.jobs]
    log = Path(run.directory) / run.jobs[1].directory / "supervisor.log"
    assert "stopping has to wait: Ray at" in log.read_text()


def test_what_was_submitted_is_stopped_where_the_next_one_is_refused(
    faked: Place, fake: FakeRay, tmp_path: Path, database: Database
) -> None:
    run = faked.run(tmp_path, "true", "true", "true", parallel=3, on_failure="stop-all")
    database.record(run)
    sent: list[str] = []

    def answer(method: str, path: str) -> tuple[int, Any]:
        if method == "POST" and path == "/api/jobs/":
            if len(sent) == 2:
                return 400, "TypeError: not this one"
            sent.append(fake.bodies[-1]["submission_id"])
            return 200, {}
        if path.endswith("/stop"):
            return 500, "no"
        if path == "/api/jobs/":
            return 200, [{"submission_id": each, "status": "RUNNING"} for each in sent]
        name = path.rpartition("/")[2]
        return (200, {"submission_id": name, "status": "RUNNING"}) if name in sent else (404, "no")

    fake.answer = answer
    rows = tick(database, run.run_id, {})
    assert [row.state for row in rows] == [State.QUEUED, State.QUEUED, State.FAILED]
    assert str(rows[2].reason).startswith("not submitted: Ray at")
    tick(database, run.run_id, {})
    # One of them can't be stopped, and the other is asked to all the same.
    stopped = [path.split("/")[3] for _, path in fake.asked if path.endswith("/stop")]
    assert stopped == sent


def test_a_node_that_is_gone_is_one_job_s_trouble(faked: Place, fake: FakeRay, tmp_path: Path) -> None:
    """Without shared storage its log was all that there was of it."""
    settings = {"dashboard_url": fake.url, "node_dir": "/node"}
    run = faked.run(tmp_path, "true", "true", "true", settings=settings)
    first = handle_of(faked, run)
    handles = [replace(first, key=one.key, directory=run.folder(one)) for one in run.jobs]
    ended = {"message": "Job supervisor actor died: it was lost", "error_type": "JOB_SUPERVISOR_ACTOR_DIED"}
    jobs = [
        job(handles[0], "FAILED", driver_node_id="gone", **ended),
        job(handles[1], "FAILED", driver_node_id="there", **ended),
        job(handles[2], "RUNNING"),
    ]
    alive = {"data": {"result": {"result": [{"node_id": "there", "state": "ALIVE"}]}}}

    def answer(_: str, path: str) -> tuple[int, Any]:
        if path == "/api/jobs/":
            return 200, jobs
        if path.startswith("/api/v0/nodes"):
            return 200, alive
        if path.startswith("/api/jobs/"):
            return 200, jobs[0]
        return 500, "no such node"

    fake.answer = answer
    answers = faked.backend.status(handles)
    assert [answers[each.key].state for each in handles] == [State.FAILED, State.UNKNOWN, State.RUNNING]
    assert str(answers[handles[0].key].reason).startswith("Ray's own process for it died: Job supervisor")
    folder = tmp_path / "run" / "jobs" / "000"
    faked.backend.collect(handles[0], folder)
    event = json.loads((folder.parents[1] / "events.jsonl").read_text().splitlines()[-1])
    assert event["left_out"] == "the job's folder could not be brought back from its node"
    assert "POST" not in [method for method, _ in fake.asked]
    jobs[0] = jobs[1]
    with pytest.raises(Unreachable, match="answered 500: no such node"):
        faked.backend.collect(handles[1], folder)


def test_nothing_of_the_environment_changes_the_address(
    faked: Place, fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_JOB_HEADERS"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    handle = handle_of(faked, faked.run(tmp_path, "true"))
    fake.answer = lambda *_: (200, job(handle, "RUNNING"))
    assert faked.backend.status([handle])[handle.key].state is State.RUNNING


def test_where_a_token_is_looked_for(
    own_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_token({}) is None
    (own_environment / ".ray").mkdir()
    (own_environment / ".ray" / "auth_token").write_text("default\n")
    assert find_token({}) == "default"
    named = tmp_path / "token"
    named.write_text("from a file\n")
    assert find_token({"RAY_AUTH_TOKEN_PATH": str(named)}) == "from a file"
    assert find_token({"RAY_AUTH_TOKEN_PATH": str(named), "RAY_AUTH_TOKEN": "itself"}) == "itself"
    assert find_token({"RAY_AUTH_TOKEN": "itself", "OTHER": "mine"}, "OTHER") == "mine"
    assert find_token({"RAY_AUTH_TOKEN": "itself"}, "OTHER") is None
    named.write_text("two\nlines\n")
    for environ in ({"RAY_AUTH_TOKEN": "two\nlines"}, {"RAY_AUTH_TOKEN_PATH": str(named)}):
        with pytest.raises(Refused, match="is not one line of printable ASCII") as caught:
            find_token(environ)
        assert "lines" not in str(caught.value)
    with pytest.raises(Refused, match="RAY_AUTH_TOKEN_PATH: No such file"):
        find_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "nowhere")})


def test_what_is_too_large_is_not_sent(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_api, "MAX_UPLOAD", 3 << 20)
    with pytest.raises(Refused) as caught:
        Cluster(fake.url).upload("_ray_pkg_1.zip", b"x" * (3 << 20))
    assert "3 MiB are too much to send through Ray's API, which takes 3 MiB" in str(caught.value)
    assert "set execution.shared_dir" in str(caught.value)
    assert fake.asked == []
