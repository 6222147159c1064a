"""Jobs of a Lepton workspace: what is sent, how trouble is told, what comes back."""

from __future__ import annotations

import base64
import dataclasses
import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, Refused, Unreachable
from launched import RESULTS, Place, changed, ended, here, states, supervise, there, until, wait_for
from launcher.backends import lepton as backend
from launcher.backends import lepton_api, lepton_job
from launcher.backends.protocol import NotSent
from launcher.code import packaging
from launcher.configuration import lepton as settings
from launcher.configuration.model import Execution
from launcher.jobs import JobHandle, LogChunk, RunPlan, SecretName, State
from launcher.node.job_script import run_config
from launcher.node.result_stream import SENDING, receive
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, resume, tick
from lepton_place import lepton_place
from planned_runs import plan
from services.lepton import Lepton

WAITS = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS


@pytest.fixture
def place(request: pytest.FixtureRequest, lepton: Lepton) -> Place:
    return lepton_place(request)


@pytest.fixture
def seen(place: Place, lepton: Lepton) -> Place:
    """The same with storage that this machine sees, too: elsewhere than the jobs."""
    volume = lepton.folder / "volumes" / "node-nfs:shared" / "evals"
    return replace(place, settings={**place.settings, "output_dir_here": str(volume)})


def submit(place: Place, run: RunPlan) -> JobHandle:
    return place.submit(run)


def test_what_is_sent_says_it_all_and_names_nothing_of_this_machine(tmp_path: Path) -> None:
    data = {
        "execution": {
            "type": "lepton",
            "resource_shape": "gpu.a100-80g",
            "node_group": "group",
            "node_names": ["node-1"],
            "reservation": "res-1",
            "priority": "mid-4000",
            "visibility": "private",
            "image_pull_secrets": "pull",
            "shm_size": "16g",
            "mounts": [
                {"from": "node-nfs:shared", "path": "/evals", "mount_path": "/evals"},
                "/data:/data:node-local",
                {"from": "node-nfs:shared", "path": "/models", "mount_path": "/models", "read_only": True},
            ],
            "output_dir": "/evals/runs",
            "env_vars": {"NGC_API_KEY": "NGC_API_KEY", "HF_TOKEN": "TOKEN_OF_HF", "MODE": "lit:fast"},
        },
        "target": {"api_endpoint": {"model_id": "m", "url": "http://x/v1", "api_key_name": "API_KEY"}},
        "evaluation": {"tasks": ["quickcheck.chat"], "required_env_vars": ["NEEDED"]},
    }
    run = plan(data, directory=tmp_path / "here")
    made = backend.plan(run, run.jobs[0])
    assert str(tmp_path) not in json.dumps(made)
    command = made["job"]["spec"]["container"].pop("command")
    assert command[:2] == ["/bin/sh", "-c"]
    assert base64.b64decode(command[4]).decode() == made["script"]
    assert str(tmp_path) not in made["script"]
    assert "--output-dir /evals/runs/0123456789abcdef/jobs/000-quickcheck.chat-m/artifacts" in made["script"]
    reference = {name: {"name": name, "value_from": {"secret_name_ref": name}} for name in made["secrets"]}
    assert made["job"] == {
        "metadata": {
            "id": "evaldock-0123456789abcdef-000-1",
            "labels": {
                "evaldock-key": "0123456789abcdef-000",
                "evaldock-attempt": "1",
                "evaldock-run": "0123456789abcdef",
            },
            "visibility": "private",
        },
        "spec": {
            "resource_shape": "gpu.a100-80g",
            "container": {"image": "registry.example/evals/quickcheck@sha256:" + "1" * 64},
            "completions": 1,
            "parallelism": 1,
            "max_failure_retry": 0,
            "max_job_failure_retry": 0,
            "envs": [reference[name] for name in ("API_KEY", "NEEDED", "NGC_API_KEY", "TOKEN_OF_HF")],
            "mounts": [
                {"from": "node-nfs:shared", "path": "/evals", "mount_path": "/evals"},
                {"from": "node-local", "path": "/data", "mount_path": "/data"},
                {
                    "from": "node-nfs:shared",
                    "path": "/models",
                    "mount_path": "/models",
                    "mount_options": {"read_only": True},
                },
            ],
            "image_pull_secrets": ["pull"],
            "ttl_seconds_after_finished": 259200,
            "log": {"enable_collection": True, "save_termination_logs": True},
            "affinity": {
                "allowed_dedicated_node_groups": ["group"],
                "allowed_nodes_in_node_group": ["node-1"],
            },
            "queue_config": {"priority_class": "mid-4000"},
            "reservation_config": {"reservation_id": "res-1"},
            "shared_memory_size": 16384,
        },
    }
    # Lepton's own client takes it as it is, and drops nothing of it.
    with pytest.MonkeyPatch.context() as patch, lepton_api._quiet():
        patch.setenv("HOME", str(tmp_path))
        from leptonai.api.v2.job_validation import validate_job_create  # noqa: PLC0415
        from leptonai.api.v2.types.job import LeptonJob  # noqa: PLC0415

        job = LeptonJob(**made["job"])
        validate_job_create(job)
        sent = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert sent["metadata"] == made["job"]["metadata"]
    assert sent["spec"] == made["job"]["spec"]


@pytest.mark.parametrize(
    ("execution", "problem"),
    [
        ({}, "execution.resource_shape (run.yaml): field required"),
        ({"num_replicas": 2}, "quickcheck.chat: 2 replicas would each do all of it"),
        ({"cpus": 4}, "cpus means nothing on Lepton: resource_shape says what a job gets"),
        ({"output_dir": "results"}, "expected a whole path, got 'results'"),
        ({"output_dir_here": "/mnt"}, "output_dir, which lies on none of the mounts"),
        ({"mounts": ["/a:/b"]}, "expected from, path and mount_path, or PATH:MOUNT_PATH:VOLUME"),
        ({"mounts": [{"from": "x", "path": "a", "mount_path": "/b"}]}, "should match pattern"),
        ({"resource_shap": "x"}, "no such setting; did you mean 'resource_shape'?"),
    ],
)
def test_a_configuration_that_can_not_be_meant_is_told(execution: Mapping[str, Any], problem: str) -> None:
    shape = {} if "resource_shap" in execution or not execution else {"resource_shape": "cpu.small"}
    data = {
        "execution": {"type": "lepton", **shape, **execution},
        "evaluation": {"tasks": ["quickcheck.chat"]},
    }
    with pytest.raises(InvalidInput) as raised:
        plan(data)
    assert problem in str(raised.value)


@pytest.mark.parametrize(("name", "attempt"), [("first.sh", 1), ("again.sh", 2)])
def test_the_containers_script_is_the_one_that_is_kept(tmp_path: Path, name: str, attempt: int) -> None:
    """Without the parts that have tests of their own."""
    execution: dict[str, Any] = {"type": "lepton", "resource_shape": "cpu.small"}
    execution["output_dir"] = "/evals/runs"
    if attempt > 1:
        execution |= {"mounts": ["/evals:/evals:node-nfs:shared"], "output_dir_here": "/mnt/evals/runs"}
    run = plan({"execution": execution, "evaluation": {"tasks": ["quickcheck.chat"]}})
    if attempt > 1:
        run = changed(run, code="c" * 64, timeout=3600.0)
    text = lepton_job.script(run, run.jobs[0], attempt)
    written = json.dumps({**dataclasses.asdict(run.jobs[0]), "attempt": attempt}, ensure_ascii=False)
    for part, what in (
        (shlex.quote(lepton_job.run_sh(run, run.jobs[0], attempt)), "'RUN.SH'"),
        (shlex.quote(run_config(run.jobs[0]).decode()), "'RUN_CONFIG'"),
        (shlex.quote(written), "'JOB.JSON'"),
        (SENDING, "SENDING\n"),
    ):
        text = text.replace(part, what)
    golden, actual = Path(__file__).parent / "goldens" / name, tmp_path / name
    actual.write_text(text)
    assert text == golden.read_text(), f"if it is as it should be: cp {actual} {golden}"


def test_every_setting_and_state_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "lepton.md").read_text()
    own = {*settings.Lepton.model_fields, *settings.Serving.model_fields} - {*Execution.model_fields}
    assert {name for name in own if f"`{name}`" not in page} == set()
    states = {name for name in backend.STATES if f"{name}," in page or f"{name} |" in page}
    assert states == set(backend.STATES)


@pytest.mark.parametrize(("state", "expected"), backend.STATES.items())
def test_every_state_of_theirs_is_one_of_ours(
    place: Place, lepton: Lepton, tmp_path: Path, state: str, expected: State
) -> None:
    lepton.change(settings={"hold": True})
    handle = submit(place, place.run(tmp_path, RESULTS))
    lepton.change(force={handle.native_id: state})
    answer = place.backend.status([handle])[handle.key]
    assert (answer.state, answer.native) == (expected, state)
    assert answer.exit_code == (0 if expected is State.SUCCEEDED else None)
    assert (answer.reason is None) == (not expected.terminal or expected is State.SUCCEEDED)


def test_a_state_that_nobody_knows_is_unknown(place: Place, lepton: Lepton, tmp_path: Path) -> None:
    lepton.change(settings={"hold": True})
    handle = submit(place, place.run(tmp_path, RESULTS))
    lepton.change(force={handle.native_id: "Hibernating"})
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
        won.append(handle.native_id)

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
        submit(place, run)
    assert text in str(raised.value)
    assert lepton.token not in str(raised.value)
    assert (type(raised.value) is NotSent) == (error is NotSent)
    # Another try does it.
    assert ended(place, submit(place, run)).state is State.SUCCEEDED


def test_a_list_that_lacks_a_job_does_not_make_it_lost(
    place: Place, lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = submit(place, place.run(tmp_path, WAITS))
    wait_for(Path(handle.directory) / "artifacts" / "ready")
    monkeypatch.setattr(lepton_api.Lepton, "jobs", lambda *_: [])
    assert place.backend.status([handle])[handle.key].state is State.RUNNING
    lepton.fault("GET /jobs", 503)
    assert place.backend.status([handle])[handle.key].state is State.UNKNOWN
    lepton.change(lose=[handle.native_id])
    assert place.backend.status([handle])[handle.key].state is State.LOST


def test_who_has_no_token_is_told_what_to_set(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LEPTON_WORKSPACE_ID", "LEPTON_WORKSPACE_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(NotSent, match="no workspace for Lepton is known\n  set LEPTON_WORKSPACE_ID and"):
        submit(place, place.run(tmp_path, RESULTS))


def test_both_ways_to_name_token_and_workspace(
    place: Place, lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lepton.environ:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LEPTON_API_TOKEN", f"{lepton.name}:{lepton.token}")
    run = place.run(tmp_path, RESULTS, settings={**place.settings, "api_url": lepton.url})
    assert ended(place, submit(place, run)).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://api.example/v1", "the token for Lepton is not sent over http:// (api.example)"),
        ("https://api.example/v1", "is not sent to api.example, which is none of Lepton's hosts"),
        ("https://xlepton.ai/v1", "is not sent to xlepton.ai"),
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


def test_a_missing_secret_is_told_before_anything_starts(
    place: Place, lepton: Lepton, tmp_path: Path
) -> None:
    secrets = (
        SecretName(name="A", source="NOT_THERE", where="runtime"),
        SecretName(name="B", source="NEITHER"),
    )
    run = changed(place.run(tmp_path, RESULTS), secrets=secrets)
    with pytest.raises(Refused) as raised:
        submit(place, run)
    assert "no secret NEITHER and none NOT_THERE" in str(raised.value)
    assert "`lep secret create -n NEITHER -v …`" in str(raised.value)
    assert lepton.look()["jobs"] == {}


def test_a_job_that_waits_for_a_node_group_is_queued_and_cancelled(
    place: Place, lepton: Lepton, tmp_path: Path
) -> None:
    run = place.run(tmp_path, "touch {out}/ran", settings={**place.settings, "node_group": ["elsewhere"]})
    handle = submit(place, run)
    answer = place.backend.status([handle])[handle.key]
    assert (answer.state, answer.native) == (State.QUEUED, "Queueing")
    place.backend.cancel(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.reason) == (State.CANCELLED, "stopped on request")
    place.backend.collect(handle, here(run))
    assert not (here(run) / "artifacts" / "ran").exists()


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
    handle = submit(place, run)
    assert ended(place, handle).state is State.SUCCEEDED
    chunk = place.backend.logs(handle, 0)
    assert sorted(chunk.data.decode().splitlines()) == [
        f"[{n}] I am {n} of 3, worker-0.jobs" for n in range(3)
    ]
    assert place.backend.logs(handle, chunk.next).data == b""
    folder = place.collect(run, handle)
    assert (folder / "logs" / "job.log").read_text() == "I am 0 of 3, worker-0.jobs\n"
    assert (there(run) / "replicas" / "2" / "exit.json").exists()


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


def test_the_script_runs_in_other_shells(place: Place, tmp_path: Path, shell: list[str]) -> None:
    run = changed(place.run(tmp_path, "echo printed; exit 3"), timeout=60.0)
    script = lepton_job.script(run, run.jobs[0], 1)
    done = subprocess.run([*shell, "-c", script, "evaldock"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (3, b"")
    received = receive(done.stdout)
    assert received.log == b"printed\n"
    assert received.exit is not None
    assert received.exit.exit_code == 3
    assert received.packed is not None


def test_too_much_code_for_a_command_is_refused() -> None:
    assert "".join(lepton_job.pieces(b"x" * 200_000)) == base64.b64encode(b"x" * 200_000).decode()
    assert max(len(piece) for piece in lepton_job.pieces(b"x" * 200_000)) < 128 << 10
    with pytest.raises(Refused, match="the shipped code has 900000 bytes when it is packed"):
        lepton_job.pieces(b"x" * 900_000)


def test_a_job_ends_in_time_without_its_launcher(place: Place, tmp_path: Path) -> None:
    run = changed(place.run(tmp_path, "sleep 60"), timeout=1.0)
    answer = ended(place, submit(place, run))
    assert answer.exit_code == 143


def test_a_container_that_ends_without_a_word_has_its_last_lines(
    place: Place, lepton: Lepton, tmp_path: Path
) -> None:
    run = place.run(tmp_path, "touch {out}/ready; echo about to end; sleep 60")
    handle = submit(place, run)
    wait_for(Path(handle.directory) / "artifacts" / "ready")
    until(lambda: b"about" in place.backend.logs(handle, 0).data, "it has printed")
    for pid in lepton.look()["jobs"][handle.native_id]["pids"]:
        subprocess.run(["kill", "-KILL", str(pid)], check=False)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code) == (State.FAILED, None)
    assert answer.reason == "Lepton says Failed; last: about to end"


def test_the_clients_library_is_loaded_on_use() -> None:
    code = (
        "import sys, launcher.backends.lepton, launcher.lepton_endpoints, launcher.runs.supervisor;"
        "print([n for n in sys.modules if n.partition('.')[0] in ('leptonai', 'requests', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
