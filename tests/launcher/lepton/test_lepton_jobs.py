"""Jobs of a Lepton workspace: their states, and what comes back of them."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import Refused
from launched import RESULTS, Place, changed, ended, here, states, supervise, there, until, wait_for
from launcher.backends import lepton as backend
from launcher.backends import lepton_job, lepton_stream
from launcher.code import packaging
from launcher.jobs import LogChunk, SecretName, State
from launcher.node import result_stream
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, resume, tick
from lepton_place import identity
from running import evaldock
from services.lepton import Lepton

WAITS = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS


@pytest.fixture
def seen(place: Place, lepton: Lepton) -> Place:
    """The same with storage that this machine sees, too: elsewhere than the jobs."""
    volume = lepton.folder / "volumes" / "node-nfs:shared" / "evals"
    return replace(place, settings={**place.settings, "output_dir_here": str(volume)})


@pytest.mark.parametrize(("state", "expected"), backend.STATES.items())
def test_every_state_of_theirs_is_one_of_ours(
    place: Place, lepton: Lepton, tmp_path: Path, state: str, expected: State
) -> None:
    lepton.change(settings={"hold": True})
    handle = place.submit(place.run(tmp_path, RESULTS))
    lepton.change(force={identity(handle): state})
    answer = place.backend.status([handle])[handle.key]
    assert (answer.state, answer.native) == (expected, state)
    assert answer.exit_code == (0 if expected is State.SUCCEEDED else None)
    assert (answer.reason is None) == (not expected.terminal or expected is State.SUCCEEDED)


def test_a_state_that_nobody_knows_is_unknown(place: Place, lepton: Lepton, tmp_path: Path) -> None:
    lepton.change(settings={"hold": True})
    handle = place.submit(place.run(tmp_path, RESULTS))
    lepton.change(force={identity(handle): "Hibernating"})
    answer = place.backend.status([handle])[handle.key]
    assert (answer.state, answer.native) == (State.UNKNOWN, "UNK")


def test_any_number_of_jobs_is_asked_for_at_once(place: Place, lepton: Lepton, tmp_path: Path) -> None:
    lepton.change(settings={"hold": True})
    run = place.run(tmp_path, *[RESULTS] * 5)
    handles = [place.backend.submit(run, job, 1, {}) for job in run.jobs]
    before = lepton.look()["counted"]
    answers = place.backend.status(handles)
    after = lepton.look()["counted"]
    assert {answer.state for answer in answers.values()} == {State.QUEUED}
    assert {
        name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)
    } == {"GET /jobs": 1}


def test_a_missing_secret_is_told_before_anything_starts(
    place: Place, lepton: Lepton, tmp_path: Path
) -> None:
    secrets = (
        SecretName(name="A", source="NOT_THERE", where="runtime"),
        SecretName(name="B", source="NEITHER"),
    )
    run = changed(place.run(tmp_path, RESULTS), secrets=secrets)
    with pytest.raises(Refused) as raised:
        place.submit(run)
    assert "no secret NEITHER and none NOT_THERE" in str(raised.value)
    assert "`lep secret create -n NEITHER -v …`" in str(raised.value)
    assert lepton.look()["jobs"] == {}


def test_a_job_that_waits_for_a_node_is_queued_and_cancelled(
    place: Place, lepton: Lepton, tmp_path: Path
) -> None:
    lepton.change(settings={"hold": True})
    run = place.run(tmp_path, "touch {out}/ran")
    handle = place.submit(run)
    answer = place.backend.status([handle])[handle.key]
    assert (answer.state, answer.native) == (State.QUEUED, "Queueing")
    place.backend.cancel(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.reason) == (State.CANCELLED, "stopped on request")
    place.backend.collect(handle, here(run))
    assert not (here(run) / "artifacts" / "ran").exists()


@pytest.mark.parametrize("group", ["group", "group-1a2b"], ids=["name", "id"])
def test_a_job_runs_in_the_node_group_that_is_named(
    place: Place, lepton: Lepton, tmp_path: Path, group: str
) -> None:
    run = place.run(tmp_path, RESULTS, settings={**place.settings, "node_group": [group]})
    asked = backend.plan(run, run.jobs[0])["job"]["spec"]["affinity"]
    assert asked == {"allowed_dedicated_node_groups": [group]}
    assert ended(place, place.submit(run)).state is State.SUCCEEDED
    (job,) = lepton.look()["jobs"].values()
    assert job["spec"]["affinity"] == {"allowed_dedicated_node_groups": ["group-1a2b"]}
    run = place.run(tmp_path, RESULTS, settings={**place.settings, "node_group": ["groop"]})
    with pytest.raises(Refused, match="has no node group 'groop'; did you mean 'group'"):
        place.submit(run)


def test_a_job_whose_log_goes_with_its_end_is_cancelled_all_the_same(
    place: Place, lepton: Lepton, tmp_path: Path, database: Database
) -> None:
    lepton.change(settings={"stopped_forgets": True})
    run = place.run(tmp_path, WAITS)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "ready")
    request_stop(database, run.run_id)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.CANCELLED, "stopped on request")


def test_storage_that_both_sides_see_needs_no_log(seen: Place, tmp_path: Path, database: Database) -> None:
    run = seen.run(tmp_path, "echo printed; head -c 3000000 /dev/urandom >{out}/large; " + RESULTS)
    database.record(run)
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    assert (here(run) / "artifacts" / "large").stat().st_size == 3_000_000
    assert (here(run) / "logs" / "job.log").read_text() == "printed\n"
    (row,) = database.jobs(run.run_id)
    handle = row.handle("lepton")
    assert handle is not None
    handle = replace(handle, settings=run.settings)
    assert backend.logs(handle, 4) == LogChunk(b"ted\n", 8)
    assert seen.native(handle).endswith("printed\n")  # nothing was sent behind it


def test_what_is_too_large_for_the_log_stays_there_and_is_told(
    place: Place, tmp_path: Path, database: Database
) -> None:
    run = place.run(tmp_path, "head -c 3000000 /dev/urandom >{out}/large; " + RESULTS)
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.SUCCEEDED
    assert not (here(run) / "artifacts" / "large").exists()
    left_out = json.loads((here(run) / "collected.json").read_text())["left_out"]
    assert left_out == ["the job's folder has more than 1048576 bytes when it is packed"]


def test_results_that_unpack_to_too_much_are_their_jobs_trouble_alone(
    place: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_stream, "UNPACKED", 1 << 20)
    run = place.run(tmp_path, "head -c 2000000 /dev/zero >{out}/zeros; " + RESULTS, RESULTS, parallel=2)
    database.record(run)
    rows = supervise(database, run)
    assert [row.state is State.SUCCEEDED for row in rows][1]
    left_out = json.loads((here(run) / "collected.json").read_text())["left_out"]
    assert left_out == ["the job's folder unpacks to more than 1048576 bytes or 100000 files"]


def test_a_long_log_leaves_room_for_the_results(place: Place, tmp_path: Path, database: Database) -> None:
    lines = lepton_job.ECHO // 8 + 1000
    run = place.run(tmp_path, f"seq -f %07.0f {lines}; " + RESULTS)
    database.record(run)
    assert states(supervise(database, run)) == [State.SUCCEEDED]
    whole = (here(run) / "logs" / "job.log").read_bytes()
    assert (whole[:8], len(whole)) == (b"0000001\n", lines * 8)
    (row,) = database.jobs(run.run_id)
    handle = row.handle("lepton")
    assert handle is not None
    shown = backend.logs(replace(handle, settings=run.settings), 0).data
    assert shown.startswith(whole[: lepton_job.ECHO])
    assert shown[lepton_job.ECHO :] == b"\nevaldock: the rest of the log comes with the results\n"


def test_a_second_attempt_goes_on_where_the_first_was(
    place: Place, tmp_path: Path, database: Database
) -> None:
    run = place.run(tmp_path, "echo x >>{out}/tries; [ $(wc -l <{out}/tries) = 2 ] && " + RESULTS)
    database.record(run)
    assert states(supervise(database, run)) == [State.FAILED]
    resume(database, run.run_id)
    (row,) = supervise(database, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 2)
    assert json.loads((here(run) / "attempts" / "1" / "exit.json").read_text())["attempt"] == 1
    assert json.loads((here(run) / "exit.json").read_text())["attempt"] == 2
    assert (there(run) / "attempts" / "1" / "job.log").exists()


def test_several_replicas_print_with_their_number(place: Place, lepton: Lepton, tmp_path: Path) -> None:
    command = "echo I am $LEPTON_JOB_WORKER_INDEX of $LEPTON_JOB_TOTAL_WORKERS, $EVALDOCK_HEAD; " + RESULTS
    run = place.run(tmp_path, command, settings={**place.settings, "num_replicas": 3})
    run = changed(run, on_every_node=True)
    assert backend.plan(run, run.jobs[0])["job"]["spec"]["intra_job_communication"] is True
    handle = place.submit(run)
    assert ended(place, handle).state is State.SUCCEEDED
    chunk = place.backend.logs(handle, 0)
    assert sorted(chunk.data.decode().splitlines()) == [
        f"[{n}] I am {n} of 3, worker-0.jobs" for n in range(3)
    ]
    assert place.backend.logs(handle, chunk.next).data == b""
    folder = place.collect(run, handle)
    assert (folder / "logs" / "job.log").read_text() == "I am 0 of 3, worker-0.jobs\n"
    assert (there(run) / "replicas" / "2" / "exit.json").exists()


@pytest.mark.parametrize("plain", [False, True], ids=["chunks", "plain"])
def test_a_job_that_prints_all_the_time_is_read_up_to_now(
    place: Place,
    lepton: Lepton,
    tmp_path: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    *,
    plain: bool,
) -> None:
    lepton.change(settings={"plain_log": plain})
    monkeypatch.setattr(lepton_stream, "SECONDS", 2.0)
    monkeypatch.setenv("EVALDOCK_STATE", str(database.path.parent))
    run = place.run(tmp_path, "while :; do echo again; sleep 0.2; done")
    database.record(run)
    (row,) = tick(database, run.run_id, {})
    handle = row.handle("lepton")
    assert handle is not None
    handle = replace(handle, settings=run.settings)
    until(lambda: place.backend.logs(handle, 0).data, "it prints")
    began = time.monotonic()
    assert b"again\nagain\n" in place.backend.logs(handle, 0).data
    assert time.monotonic() - began < 10
    ran = evaldock("logs", run.run_id)
    assert (ran.code, ran.out.startswith("again\nagain\n")) == (0, True)
    assert time.monotonic() - began < 20
    assert place.backend.status([handle])[handle.key].state is State.RUNNING
    place.backend.cancel(handle)
    assert ended(place, handle).state is State.CANCELLED
    quiet = place.submit(place.run(tmp_path, "echo said; " + WAITS))
    wait_for(Path(quiet.directory) / "artifacts" / "ready")
    began = time.monotonic()
    assert place.backend.logs(quiet, 0).data == b"said\n"
    assert time.monotonic() - began < 10
    place.backend.cancel(quiet)
    assert ended(place, quiet).state is State.CANCELLED


def test_a_log_that_begins_late_is_waited_for(place: Place, lepton: Lepton, tmp_path: Path) -> None:
    settings = {**place.settings, "request_timeout": 4.0}
    handle = place.submit(place.run(tmp_path, "echo said; " + WAITS, settings=settings))
    wait_for(Path(handle.directory) / "artifacts" / "ready")
    until(lambda: place.backend.logs(handle, 0).data == b"said\n", "it has printed")
    lepton.change(settings={"slow_log": 1.5})
    assert place.backend.logs(handle, 0).data == b"said\n"
    # Longer than any request may take: of a job that runs there is nothing yet, that of another comes later.
    lepton.change(settings={"slow_log": 6})
    assert place.backend.logs(handle, 5) == LogChunk(b"", 5)
    (Path(handle.directory) / "artifacts" / "go").touch()
    until(lambda: lepton.look()["jobs"][identity(handle)]["status"]["state"] == "Completed", "it ends")
    assert place.backend.status([handle])[handle.key].state is State.UNKNOWN
    lepton.change(settings={"slow_log": 0})
    assert place.backend.status([handle])[handle.key].state is State.SUCCEEDED


def test_shipped_code_comes_along(place: Place, tmp_path: Path, database: Database) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "hello.sh").write_text("echo hello from the code\n")
    tree = packaging.collect_tree(source)
    run = changed(
        place.run(tmp_path, "sh hello.sh >{out}/said"), code=tree.digest, kind="recipe", setup="test -d ."
    )
    packaging.write(tree, Path(run.directory) / "code")
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert (here(run) / "artifacts" / "said").read_text() == "hello from the code\n"


def test_a_job_ends_in_time_without_its_launcher(place: Place, tmp_path: Path) -> None:
    run = changed(place.run(tmp_path, "sleep 60"), timeout=1.0)
    answer = ended(place, place.submit(run))
    assert answer.exit_code == 143


def test_a_container_that_ends_without_a_word_has_its_last_lines(
    place: Place, lepton: Lepton, tmp_path: Path
) -> None:
    run = place.run(tmp_path, "touch {out}/ready; echo about to end; sleep 60")
    handle = place.submit(run)
    wait_for(Path(handle.directory) / "artifacts" / "ready")
    until(lambda: b"about" in place.backend.logs(handle, 0).data, "it has printed")
    for pid in lepton.look()["jobs"][identity(handle)]["pids"]:
        subprocess.run(["kill", "-KILL", str(pid)], check=False)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code) == (State.FAILED, None)
    assert answer.reason == "Lepton says Failed; last: about to end"
