"""Jobs on a real Ray head, beyond what every backend must do: with and without shared storage."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import (
    RESULTS,
    Place,
    artifacts,
    changed,
    ended,
    here,
    states,
    status,
    supervise,
    there,
    until,
    wait_for,
)
from launcher.backends import ray_stream
from launcher.backends.ray_api import Cluster
from launcher.jobs import RunPlan, SecretName, State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, resume, tick
from planned_runs import plan
from ray_place import place_on, ray_place, signal_all
from services.engine import Engine
from services.ray_head import RayHead
from standins import standin, stats


@pytest.fixture
def shared_place(request: pytest.FixtureRequest) -> Place:
    return ray_place(request)


@pytest.fixture
def place(ray_head: RayHead, tmp_path: Path) -> Place:
    """Without storage that both sides see: what lies below `node` is the node's alone."""
    root = tmp_path / "node"
    return place_on(ray_head, root, shared_dir=None, node_dir=str(root), results_limit=1 << 20)


def events(run: RunPlan) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(run.directory) / "events.jsonl").read_text().splitlines()]


def last_line(run: RunPlan) -> str:
    return (here(run) / "logs" / "ray.log").read_text().splitlines()[-1]


# Without shared storage


def test_files_travel_to_any_node_and_back(place: Place, tmp_path: Path, database: Database) -> None:
    command = (
        r"printf 'caf\303'; until [ -e {out}/go ]; do sleep 0.1; done; printf '\251\n'; echo ü >{out}/é; "
        "[ -e {out}/count ] && { cat {out}/count >{out}/seen; " + RESULTS + "; exit 0; }; "
        "echo one >{out}/count; exit 3"
    )
    run = place.run(tmp_path, command)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts")
    handle = place.submit(run)
    chunk = until(lambda: place.backend.logs(handle, 0) if place.backend.logs(handle, 0).data else None)
    assert (chunk.data, chunk.next) == (b"caf\xc3", 4)
    assert place.backend.logs(handle, 4).data == b""
    (there(run) / "artifacts" / "go").touch()
    (row,) = supervise(database, run)
    assert (row.state, row.attempt, row.exit_code) == (State.FAILED, 1, 3)
    # The next attempt gets another node: it is sent what came back of this one.
    shutil.rmtree(there(run))
    assert resume(database, run.run_id) == [row.key]
    (row,) = supervise(database, run)
    assert (row.state, row.attempt, row.exit_code) == (State.SUCCEEDED, 2, 0)
    assert (here(run) / "logs" / "job.log").read_text() == "café\n"
    assert (here(run) / "artifacts" / "é").read_text() == "ü\n"
    assert (here(run) / "artifacts" / "seen").read_text() == "one\n"
    assert json.loads((here(run) / "exit.json").read_text())["attempt"] == 2
    assert [(each["event"], each["attempt"], each.get("exit_code")) for each in events(run)] == [
        ("submitted", 1, None),
        ("terminal", 1, 3),
        ("submitted", 2, None),
        ("terminal", 2, 0),
    ]
    assert last_line(run) == f"evaldock: evaldock-{row.key}-2 is SUCCEEDED, exit code 0"


def test_what_is_too_large_stays_and_is_said(place: Place, tmp_path: Path, database: Database) -> None:
    settings = {**place.settings, "results_limit": 20_000}
    command = "head -c 100000 /dev/urandom >{out}/large; " + RESULTS
    run = place.run(tmp_path, command, settings=settings)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert not (here(run) / "artifacts" / "large").exists()
    assert (here(run) / "artifacts" / "results.yml").exists()
    assert "more than 20000 bytes when it is packed" in events(run)[-1]["left_out"]
    assert "more than 20000 bytes" in (here(run) / "logs" / "ray.log").read_text()


def test_what_a_killed_job_left_on_its_node_is_sent_for(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "echo half >{out}/half; touch {out}/ready; while :; do sleep 0.1; done")
    handle = place.submit(run)
    wait_for(artifacts(handle) / "ready")
    signal_all(handle, "", signal.SIGSTOP)
    signal_all(handle, "", signal.SIGKILL)
    answer = ended(place, handle)
    assert answer.state is State.FAILED
    place.collect(run, handle)
    assert (here(run) / "artifacts" / "half").read_text() == "half\n"


def test_results_of_other_jobs_are_sent_along(place: Place, tmp_path: Path, database: Database) -> None:
    run = place.run(tmp_path, "echo first >{out}/word; " + RESULTS, RESULTS)
    first, second = run.jobs
    where = f"{run.folder(first)}/artifacts"
    second = replace(
        second,
        command=f"cat {where}/word >{run.folder(second)}/artifacts/read; {second.command}",
        inputs={"first": first.directory},
        depends_on=(first.key,),
    )
    run = replace(run, jobs=(first, second))
    database.record(run)
    tick(database, run.run_id, {})
    # Nothing of the first node is there for the second.
    handle = replace(place.submit(run), settings=run.settings)
    ended(place, handle)
    tick(database, run.run_id, {})
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2
    assert (Path(run.directory) / second.directory / "artifacts" / "read").read_text() == "first\n"


def test_a_sharded_evaluation_is_sent_its_code_once_and_its_parts(
    ray_head: RayHead, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    upload = Cluster.upload

    def noted(cluster: Cluster, name: str, data: bytes) -> None:
        sent.append(name)
        upload(cluster, name, data)

    monkeypatch.setattr(Cluster, "upload", noted)
    with standin(tmp_path) as url:
        data = {
            "execution": {
                "type": "ray",
                "dashboard_url": ray_head.url,
                "node_dir": str(tmp_path / "node"),
                "mode": "parallel",
            },
            "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "shards": 2}]},
        }
        run = plan(data, directory=tmp_path / "run", identity=run_id.new(), keep=True)
        database.record(run)
        rows = supervise(database, run)
        assert stats(url)["requests"] == 20
    assert [(row.state, row.reason) for row in rows] == [(State.SUCCEEDED, None)] * 3
    assert sent.count(f"_ray_pkg_{str(run.jobs[0].code)[:40]}.zip") <= 1
    assert len(sent) == len(set(sent))
    folder = Path(run.directory) / run.jobs[-1].directory / "artifacts"
    assert len(json.loads((folder / "workflow_output.json").read_bytes())) == 20
    scores = {metric.label: metric.value for metric in results_file.read(folder).metrics}
    assert scores["accuracy"] == 1.0


# Labels and the queue


def test_a_job_waits_for_its_labels_and_can_be_taken_off_the_queue(
    shared_place: Place, tmp_path: Path, database: Database
) -> None:
    place = shared_place

    def labelled(zone: str, folder: str, **settings: Any) -> RunPlan:
        selector = {"entrypoint_label_selector": {"zone": zone}}
        return place.run(tmp_path / folder, RESULTS, settings={**place.settings, **selector, **settings})

    waiting, given_up = labelled("nowhere", "waiting"), labelled("nowhere", "up", pending_deadline=0.5)
    for run in (waiting, given_up):
        database.record(run)
        tick(database, run.run_id, {})
    assert ended(place, place.submit(labelled("here", "fits"))).state is State.SUCCEEDED
    (row,) = supervise(database, given_up)
    assert row.state is State.FAILED
    assert row.reason == "Ray found no node for it within 0.5 seconds (labels: {'zone': 'nowhere'})"
    assert states(tick(database, waiting.run_id, {})) == [State.QUEUED]
    request_stop(database, waiting.run_id)
    (row,) = supervise(database, waiting)
    assert (row.state, row.reason) == (State.CANCELLED, "stopped on request")
    for run in (waiting, given_up):
        handle = place.submit(run)
        assert status(place, handle).native == "FAILED"
        assert not (there(run) / "stage.pre-start").exists()
        Cluster(str(run.settings["dashboard_url"])).forget(ray_stream.helper_of(handle.native_id))


# Variables


def test_variables_secrets_and_a_folder_of_the_user_s_own(
    place: Place, tmp_path: Path, ray_head: RayHead
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "data.txt").write_text("from here\n")
    settings = {**place.settings, "forward_secrets": "runtime_env", "working_dir": str(own)}
    said = 'echo "$GIVEN $FORWARDED $FROM_NODE $RAY_OVERRIDE_JOB_RUNTIME_ENV" >{out}/said; '
    run = changed(
        place.run(tmp_path, said + 'cat "$EVALDOCK_WORKING_DIR/data.txt" >>{out}/said', settings=settings),
        env={"GIVEN": "1"},
        secrets=(
            SecretName(name="FORWARDED", source="HERE"),
            SecretName(name="FROM_NODE", source="NODE_VARIABLE", where="runtime"),
        ),
    )
    handle = place.submit(run, secrets={"HERE": "a secret"})
    assert ended(place, handle).exit_code == 0
    assert (artifacts(handle) / "said").read_text() == "1 a secret set on the node 1\nfrom here\n"
    runtime_env = ray_head.get(f"/api/jobs/{handle.native_id}")["runtime_env"]
    sent = runtime_env["env_vars"]
    assert (sent["GIVEN"], sent["FORWARDED"]) == ("1", "a secret")
    assert "FROM_NODE" not in sent
    assert str(own) not in json.dumps(runtime_env)


def test_shared_storage_mounted_elsewhere_and_records(
    ray_head: RayHead, tmp_path: Path, database: Database
) -> None:
    """The launcher sees the storage under another name than the nodes."""
    root, seen = tmp_path / "shared", tmp_path / "mounted"
    place = place_on(ray_head, root, shared_dir_here=str(seen))
    seen.symlink_to(root)
    run = place.run(tmp_path, "echo hello; exit 4")
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.exit_code) == (State.FAILED, 4)
    assert (here(run) / "logs" / "job.log").read_text() == "hello\n"
    first, second = events(run)
    wanted: Mapping[str, Any] = {"key": row.key, "attempt": 1, "submission_id": f"evaldock-{row.key}-1"}
    assert wanted.items() <= first.items()
    assert wanted.items() <= second.items()
    assert (first["event"], first["dashboard_url"]) == ("submitted", run.settings["dashboard_url"])
    assert (second["event"], second["status"], second["exit_code"]) == ("terminal", "FAILED", 4)
    assert last_line(run) == f"evaldock: evaldock-{row.key}-1 is FAILED, exit code 4"


def test_a_container_on_the_node(
    ray_head: RayHead, docker_engine: Engine, whole_busybox: str, request: pytest.FixtureRequest
) -> None:
    """The node's engine runs the image by digest; a job's own variables say where the engine is."""
    place = replace(ray_place(request, container_runtime="docker"), image=whole_busybox, contained=True)
    folder: Path = request.getfixturevalue("tmp_path")
    run = place.run(folder, "ls / >{out}/root; echo $GIVEN; touch {out}/ready; sleep 600 & wait")
    run = changed(run, env={"DOCKER_HOST": docker_engine.host, "GIVEN": "1"}, network="none")
    handle = place.submit(run)
    wait_for(artifacts(handle) / "ready")
    named = f"label=evaldock.key={handle.key}"
    # The engine may still be noting that what has written this runs.
    until(lambda: docker_engine.run("ps", "-q", "--filter", named), "the container runs")
    assert {"job", "results"} <= set((artifacts(handle) / "root").read_text().split())
    place.backend.cancel(handle)
    assert ended(place, handle).state is State.CANCELLED
    place.collect(run, handle)
    assert (here(run) / "logs" / "job.log").read_text() == "1\n"
    assert not docker_engine.run("ps", "--all", "-q", "--filter", named)
