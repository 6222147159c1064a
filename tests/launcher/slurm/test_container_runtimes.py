"""Whole runs on a real cluster in the containers of podman, and in those of pyxis and apptainer by stand-ins
that take their documented words (tests/services/runtimes) and really enter the image's root."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, Place, changed, ended, here, supervise, there, until, wait_for
from launcher.jobs import Deployment, JobHandle, Mount, Resources, RunPlan, SecretName, State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
from on_node import left_running
from planned_runs import HARNESSES, plan
from services.podman import Podman
from services.processes import free_port
from services.slurm import GPU_NODE, Slurm
from slurm_place import slurm_docker_place
from standins import standin, stats

pytestmark = pytest.mark.timeout(600)
SERVICES = {"podman": "podman", "pyxis": "runtimes_of_clusters", "apptainer": "runtimes_of_clusters"}
PARTS = ("pyxis", "apptainer")
ODD = "ü '\" $(touch pwned) `touch pwned` ${HOME} \\ \n; touch pwned #é"
FOREVER = "touch {out}/ready; while :; do sleep 0.1; done"
KEY = {"K": "the-key"}


def place_of(runtime: str, request: pytest.FixtureRequest) -> Place:
    request.getfixturevalue(SERVICES[runtime])
    place = slurm_docker_place(request)
    settings = {**place.settings, "container_runtime": runtime}
    execution = {**place.execution, "container_runtime": runtime}
    network = "none" if runtime == "podman" else None
    return replace(place, settings=settings, execution=execution, network=network)


@pytest.fixture(params=[pytest.param("podman", marks=pytest.mark.service("podman")), *PARTS])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def place(runtime: str, request: pytest.FixtureRequest, slurm: Slurm) -> Place:
    return place_of(runtime, request)


def one_job(place: Place, folder: Path, command: str, **fields: Any) -> RunPlan:
    return changed(place.run(folder, command), **fields)


def cleared(run: RunPlan) -> None:
    """Nothing of the job runs, nothing private lies about."""
    key = run.jobs[0].key
    until(lambda: not left_running(key), f"nothing of {key} runs", patience=30)
    assert not [*there(run).rglob(".secrets*")]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with standin(tmp_path, "--latency", "0.3") as address:
        yield address


@pytest.fixture
def quickcheck(
    place: Place, runtime: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[str], RunPlan]:
    """A run of it in its own image."""
    image: str = request.getfixturevalue("harness_image")(HARNESSES / "quickcheck")
    if runtime == "podman":
        podman: Podman = request.getfixturevalue("podman")
        podman.keep(image)

    def made(url: str) -> RunPlan:
        network = {"network": "host"} if runtime == "podman" else {}
        data = {
            "execution": {"type": "slurm", **place.execution, **network},
            "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"parallelism": 2}}]},
        }
        run = plan(data, directory=tmp_path / "run", identity=run_id.new(), keep=True)
        return changed(run, image=image, secrets=(SecretName(name="KEY", source="HOST_KEY"),))

    return made


def lines(run: RunPlan) -> list[bytes]:
    path = there(run) / "artifacts" / "workflow_output.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def test_quickcheck_goes_on_after_it_was_queued_again(
    quickcheck: Callable[[str], RunPlan],
    slurm: Slurm,
    database: Database,
    url: str,
) -> None:
    run, environ = quickcheck(url), {"HOST_KEY": "only-for-the-stand-in"}
    database.record(run)
    tick(database, run.run_id, environ)
    until(lambda: len(lines(run)) >= 3, "three items are finished", patience=240)
    (row,) = database.jobs(run.run_id)
    slurm.run("scontrol", "requeue", str(row.native_id))
    until(lambda: "RUNNING" not in slurm.run("squeue", "-h", "-j", str(row.native_id), "-o", "%T"))
    before = lines(run)
    (end,) = supervise(database, run, environ, patience=240)
    assert (end.state, end.reason, end.attempt) == (State.SUCCEEDED, None, 1)
    now = [line for line in lines(run) if line.endswith(b"}")]
    assert now[: len(before)] == before
    assert len({json.loads(line)["id"] for line in now}) == 20
    assert stats(url)["requests"] <= 20 + 2
    scores = {metric.label: metric.value for metric in results_file.read(here(run) / "artifacts").metrics}
    assert scores["accuracy"] == 1.0
    cleared(run)


def test_values_arrive_unchanged_and_execute_nothing(place: Place, tmp_path: Path) -> None:
    data = tmp_path / "data of $(touch pwned)"
    data.mkdir()
    (data / "file").write_text("read only")
    command = (
        'printf %s "$ODD" >{out}/odd; printf %s "$KEY" >{out}/key; cat /data/file >{out}/file; '
        "touch /data/new 2>/dev/null || echo refused >{out}/written; echo '$(touch pwned)' said; exit 3"
    )
    run = one_job(
        place,
        tmp_path / "run",
        command,
        env={"ODD": ODD},
        secrets=(SecretName(name="KEY", source="K"),),
        mounts=(Mount(source=str(data), target="/data", read_only=True),),
    )
    handle = place.submit(run, secrets={"K": ODD})
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.FAILED, 3, None)
    found = {path.name: path.read_text() for path in (there(run) / "artifacts").iterdir()}
    assert (found["odd"], found["key"]) == (ODD, ODD)
    assert (found["file"], found["written"]) == ("read only", "refused\n")
    assert (there(run) / "logs" / "job.log").read_text().endswith("$(touch pwned) said\n")
    assert not list(tmp_path.rglob("pwned"))
    cleared(run)


def test_a_job_that_is_cancelled_has_time_for_its_last_words(place: Place, tmp_path: Path) -> None:
    trap = "trap 'echo saved >>{out}/saved; exit 0' TERM; "
    run = one_job(place, tmp_path, f"({trap}{FOREVER}) & wait; wait")
    handle = place.submit(run)
    wait_for(there(run) / "artifacts" / "ready")
    place.backend.cancel(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.CANCELLED, 143, "stopped on request")
    assert (there(run) / "artifacts" / "saved").read_text() == "saved\n"
    cleared(run)


def test_a_job_that_slurm_ends_is_no_job_that_was_asked_to(
    place: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = one_job(place, tmp_path, FOREVER)
    database.record(run)
    (row,) = tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "ready")
    slurm.run("scancel", str(row.native_id))
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.FAILED, "stopped from outside")
    cleared(run)


def test_a_server_is_deployed_beside_the_job(
    quickcheck: Callable[[str], RunPlan], place: Place, tmp_path: Path, database: Database
) -> None:
    """Each in its own image."""
    port = free_port()
    served = tmp_path / "served"
    served.mkdir()
    (served / "answer").write_text("hello")
    server = Deployment(
        type="generic",
        image=place.image,
        command=("httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "/served"),
        port=port,
        health_path="/answer",
        deadline=60.0,
        mounts=(Mount(source=str(served), target="/served", read_only=True),),
    )
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/answer').read().decode())"
    command = f'python3 -c "{ask}" >{{out}}/answer; ' + RESULTS
    asking = quickcheck("http://127.0.0.1:9/v1").jobs[0]
    run = place.run(tmp_path / "run", command)
    run = changed(run, image=asking.image, network=asking.network, deployment=server)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert (there(run) / "artifacts" / "answer").read_text() == "hello\n"
    cleared(run)


def test_a_server_that_dies_ends_the_job(place: Place, tmp_path: Path) -> None:
    server = Deployment(
        type="generic",
        image=place.image,
        command=("sh", "-c", "sleep 2; echo out of memory, they say; exit 9"),
        port=free_port(),
        deadline=60.0,
    )
    run = one_job(place, tmp_path, FOREVER, deployment=server)
    answer = ended(place, place.submit(run))
    assert answer.state is State.FAILED
    assert "out of memory, they say" in str(answer.reason)
    cleared(run)


@pytest.mark.parametrize("runtime", PARTS, indirect=True)
def test_every_node_has_its_part(place: Place, tmp_path: Path) -> None:
    command = 'printf "%s %s" "$SLURM_PROCID" "$KEY" >"$EVALDOCK_RESULTS/part$SLURM_PROCID"'
    run = one_job(
        place,
        tmp_path,
        command,
        kind="recipe",
        on_every_node=True,
        resources=Resources(nodes=2),
        secrets=(SecretName(name="KEY", source="K"),),
    )
    handle = place.submit(run, secrets=KEY)
    answer = ended(place, handle)
    assert (answer.state, answer.reason) == (State.SUCCEEDED, None)
    parts = sorted(path.name for path in there(run).rglob("part[01]"))
    assert parts == ["part0", "part1"]
    assert {path.read_text() for path in there(run).rglob("part[01]")} == {"0 the-key", "1 the-key"}
    assert json.loads((there(run) / "nodes" / "1" / "exit.json").read_bytes())["exit_code"] == 0
    cleared(run)


@pytest.mark.parametrize("runtime", PARTS, indirect=True)
def test_every_part_has_time_for_its_last_words(place: Place, tmp_path: Path) -> None:
    command = "trap 'echo saved; exit 0' TERM; touch \"$EVALDOCK_RESULTS/ready\"; while :; do sleep 0.1; done"
    run = one_job(place, tmp_path, command, kind="recipe", on_every_node=True, resources=Resources(nodes=2))
    handle = place.submit(run)
    second = there(run) / "nodes" / "1"
    for folder in (there(run), second):
        wait_for(folder / "stage.running")
    wait_for(there(run) / "artifacts" / "ready")
    place.backend.cancel(handle)
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code) == (State.CANCELLED, 143)
    for folder in (there(run), second):
        assert (folder / "logs" / "job.log").read_text().endswith("saved\n")
    cleared(run)


@pytest.mark.parametrize("runtime", PARTS, indirect=True)
def test_a_part_that_fails_fails_the_job(place: Place, tmp_path: Path) -> None:
    command = '[ "$SLURM_PROCID" != 1 ] || exit 5'
    run = one_job(place, tmp_path, command, kind="recipe", on_every_node=True, resources=Resources(nodes=2))
    answer = ended(place, place.submit(run))
    assert answer.state is State.FAILED
    assert "nodes/1" in str(answer.reason)


def calls_of(log: Path, program: str, word: str) -> list[str]:
    text = log.read_text() if log.exists() else ""
    return [line for line in text.splitlines() if line.startswith(f"{program} ") and word in line]


@pytest.mark.parametrize("runtime", ["pyxis"], indirect=True)
def test_jobs_that_start_at_once_make_one_image(
    place: Place, tmp_path: Path, runtimes_of_clusters: Path, database: Database
) -> None:
    run = place.run(tmp_path / "run", *["cat /etc/environment >{out}/environment; " + RESULTS] * 3)
    database.record(run)
    rows = supervise(database, run)
    assert [(row.state, row.reason) for row in rows] == [(State.SUCCEEDED, None)] * 3
    made = [path.name for path in (tmp_path / "run" / ".evaldock" / "images").glob("*.sqsh")]
    digest = str(place.image).rpartition(":")[2]
    assert made == [f"{digest}.sqsh"]
    assert len(calls_of(runtimes_of_clusters, "enroot", str(tmp_path))) == 1
    assert (there(run) / "artifacts" / "environment").read_text() == "PATH=/bin\n"


@pytest.mark.parametrize("runtime", ["pyxis"], indirect=True)
def test_an_image_that_cannot_be_fetched_is_told(place: Place, tmp_path: Path) -> None:
    gone = f"{str(place.image).partition('@')[0]}@sha256:{'0' * 64}"
    answer = ended(place, place.submit(one_job(place, tmp_path, RESULTS, image=gone)))
    assert (answer.state, answer.exit_code) == (State.FAILED, 70)
    assert "can't be imported: enroot ended with exit code" in str(answer.reason)


@pytest.mark.parametrize("words", [["--container-nonsense=1"], ["--container-name=one"]])
def test_the_stand_in_for_pyxis_refuses_what_it_does_not_do(
    slurm: Slurm, runtimes_of_clusters: Path, words: list[str]
) -> None:
    with pytest.raises(RuntimeError, match=r"container-nonsense|doesn't know"):
        slurm.run("srun", "--nodes=1", *words, "true")


def test_the_stand_in_for_apptainer_refuses_unknown_words(runtimes_of_clusters: Path) -> None:
    command = ["apptainer", "exec", "--pid", "--nonsense", "docker://x/y@sha256:" + "0" * 64, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "unknown flag: --nonsense" in done.stderr


# -- GPUs ------------------------------------------------------------------------------------------------

# An engine with every image, which keeps what it is asked for; its containers run until they are told to end.
ENGINE = """#!/bin/sh
log={folder}/$SLURM_JOB_ID
case $1 in
create) printf '%s\\n' "$@" | grep -e '^--gpus' -e '^--device' >"$log.new" && mv "$log.new" "$log" ;;
wait) until [ -e {folder}/go ]; do sleep 0.1; done; echo 0 ;;
esac
"""


def test_jobs_on_one_node_have_gpus_of_their_own(
    slurm: Slurm, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test for both engines: two at once would wait for one another's GPUs."""
    place, name = slurm_docker_place(request), "--device=nvidia.com/gpu="
    expected = {
        "docker": {('--gpus="device=0,1"',), ('--gpus="device=2,3"',)},
        "podman": {(f"{name}0", f"{name}1"), (f"{name}2", f"{name}3")},
    }
    path = os.environ["PATH"]
    for engine, words in expected.items():
        folder = tmp_path / engine
        folder.mkdir()
        (folder / engine).write_text(ENGINE.format(folder=folder))
        (folder / engine).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{path}")
        assert asked_of(engine, place, folder) == words


def asked_of(engine: str, place: Place, folder: Path) -> set[tuple[str, ...]]:
    """The words about GPUs for the containers of two jobs that run at once."""
    settings: Mapping[str, Any] = {
        **place.settings,
        "container_runtime": engine,
        "gpus_per_node": 2,
        "sbatch_args": [f"--nodelist={GPU_NODE}"],
    }
    handles: list[JobHandle] = []
    for number in range(2):
        run = changed(place.run(folder / f"run{number}", "true"), resources=Resources(gpus=2))
        handles.append(place.submit(replace(run, settings=settings)))
    asked = [wait_for(folder / handle.native_id) for handle in handles]
    (folder / "go").touch()
    for handle in handles:
        ended(place, handle)
    return {tuple(path.read_text().splitlines()) for path in asked}
