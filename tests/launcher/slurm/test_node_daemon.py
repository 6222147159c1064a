"""A node's daemon that dies alone: the job that it started lives on, and Slurm starts it again elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, Place, ended, here, send, supervise, there, until, wait_for
from launcher.jobs import JobHandle, RunPlan, State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
from planned_runs import plan
from services.slurm import Slurm
from slurm_place import slurm_place
from standins import standin, stats

pytestmark = pytest.mark.timeout(600)
# Notes its start, and that it still works, until it may end.
WORK = (
    "echo begins >>{out}/starts; "
    'until [ -e {out}/go ]; do echo "$EVALDOCK_START" >>{out}/work; sleep 0.1; done; '
)


@pytest.fixture
def pair(request: pytest.FixtureRequest, slurm: Slurm) -> Iterator[Place]:
    """Two nodes for one test at a time, both of which are well at the end."""
    with (slurm.conf.parent / "pair.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield slurm_place(request, partition="pair")
        for name in ("n5", "n6"):
            if not slurm.daemons(name):
                slurm.start_daemon(name)
        until(lambda: slurm.is_idle("n5") and slurm.is_idle("n6"), "both nodes are idle")


def field(slurm: Slurm, what: str, name: str, wanted: str) -> str:
    """Of what scontrol shows of a job or a node."""
    words = slurm.run("scontrol", "show", what, name).split()
    return next(word.partition("=")[2] for word in words if word.startswith(f"{wanted}="))


def newest(run: RunPlan) -> tuple[int, str]:
    """Which restart of the job has its folder, and what it does."""
    number, state, *_ = (there(run) / ".start").read_text().split() or ("0", "")
    return int(number) % 10**5, state


def processes(run: RunPlan, restart: int) -> list[int]:
    """Those of a start, but for its script itself."""
    found, end = [], f"{restart:05d}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            values = (entry / "environ").read_bytes().split(b"\0")
            started = any(value.startswith(b"EVALDOCK_START=") and value.endswith(end) for value in values)
            if started and (entry / "cwd").readlink().is_relative_to(there(run)):
                found.append(int(entry.name))
    return found


def scripts(run: RunPlan) -> list[int]:
    """The shells of all starts: what works in the folder and belongs to none of them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"slurm_script" in b"".join(words[1:2]) and (entry / "cwd").readlink() == there(run):
                found.append(int(entry.name))
    return found


def works(run: RunPlan) -> list[str]:
    return (there(run) / "artifacts" / "work").read_text().split()


def submitted(place: Place, slurm: Slurm, folder: Path, **settings: Any) -> tuple[RunPlan, JobHandle, str]:
    """The job, at work, and the node that it works on."""
    run = place.run(folder / "here", WORK + RESULTS)
    run = replace(run, settings={**run.settings, **settings})
    handle = place.submit(run)
    wait_for(there(run) / "artifacts" / "work")
    return run, handle, field(slurm, "job", handle.native_id, "NodeList")


def test_that_is_back_in_time_changes_nothing(pair: Place, slurm: Slurm, tmp_path: Path) -> None:
    run, handle, node = submitted(pair, slurm, tmp_path)
    before = field(slurm, "node", node, "SlurmdStartTime")
    slurm.kill_daemon(node)
    slurm.start_daemon(node)
    until(lambda: field(slurm, "node", node, "SlurmdStartTime") != before, "the daemon is back")
    (there(run) / "artifacts" / "go").touch()
    answer = ended(pair, handle)
    assert (answer.state, answer.reason) == (State.SUCCEEDED, None)
    assert (there(run) / "artifacts" / "starts").read_text().split() == ["begins"]
    assert not [*there(run).glob(".alive.*")]


def test_that_stays_dead_ends_the_old_start_before_the_new_one_works(
    pair: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    with standin(tmp_path, "--latency", "4") as url:
        run = plan(
            {
                "execution": pair.configuration(),
                "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
                "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"parallelism": 2}}]},
            },
            directory=tmp_path / "run",
            identity=run_id.new(),
            keep=True,
        )
        checkpoint = there(run) / "artifacts" / "workflow_output.jsonl"
        database.record(run)
        tick(database, run.run_id, {})
        wait_for(checkpoint)
        (row,) = database.jobs(run.run_id)
        node = field(slurm, "job", str(row.native_id), "NodeList")
        slurm.kill_daemon(node)
        until(lambda: newest(run) == (1, "runs"), "the new start runs")
        assert not processes(run, 0)
        before = checkpoint.read_bytes()
        (done,) = supervise(database, run)
        requests = stats(url)["requests"]
    assert (done.state, done.reason, done.attempt) == (State.SUCCEEDED, None, 1)
    assert not scripts(run)
    # It has gone on from what the old start had left, which nobody has touched since, and asked for no more.
    assert checkpoint.read_bytes().startswith(before)
    items = [json.loads(line)["id"] for line in checkpoint.read_bytes().splitlines() if line.endswith(b"}")]
    assert len(items) == len(set(items)) == 20
    assert len(before.splitlines()) < 20
    assert requests <= 20 + 2
    scores = {metric.label: metric.value for metric in results_file.read(here(run) / "artifacts").metrics}
    assert scores["accuracy"] == 1.0
    said = (here(run) / "logs" / "job.log").read_text()
    assert f"an earlier start on {node} has ended\nevaldock: started again by Slurm" in said


def test_a_cluster_inside_the_job_ends_with_the_old_start(pair: Place, slurm: Slurm, tmp_path: Path) -> None:
    inside = {"with_ray": True, "ray_bin": str(Path(sys.executable).parent), "cpus_per_task": 2}
    run, handle, node = submitted(pair, slurm, tmp_path, **inside)
    slurm.kill_daemon(node)
    # The daemon would have to end Ray; and both nodes are one machine, where the ports are taken as long.
    until(lambda: newest(run) == (1, "runs"), "the new start runs")
    # Who asked Ray to stop the job may need a moment more.
    until(lambda: not processes(run, 0), "nothing of the old start runs")
    until(lambda: works(run)[-1].endswith("1"), "it works")
    (there(run) / "artifacts" / "go").touch()
    answer = ended(pair, handle)
    assert (answer.state, answer.reason) == (State.SUCCEEDED, None)
    assert works(run) == sorted(works(run)), "the old start has worked beside the new one"
    until(lambda: not scripts(run), "nothing of it runs")


def test_an_old_start_that_stood_still_wakes_and_ends_without_a_trace(
    pair: Place, slurm: Slurm, tmp_path: Path
) -> None:
    run, handle, node = submitted(pair, slurm, tmp_path)
    old, job = (send(pids, signal.SIGSTOP) for pids in (scripts(run), processes(run, 0)))
    slurm.kill_daemon(node)
    until(lambda: newest(run) == (1, "runs"), "the new start runs")
    assert field(slurm, "job", handle.native_id, "NodeList") != node
    until(lambda: works(run)[-1].endswith("1"), "it works")
    done = works(run).count(works(run)[0])
    # What the job itself does at once when it wakes, nobody can prevent: here it sleeps on, and is killed so.
    session = os.getsid(old[0])
    send([*old, *[pid for pid in job if os.getsid(pid) == session]], signal.SIGCONT)
    until(lambda: not (set(processes(run, 0)) | set(scripts(run)) & set(old)), "nothing of it runs")
    assert not (there(run) / "exit.json").exists()
    assert newest(run) == (1, "runs")
    (there(run) / "artifacts" / "go").touch()
    answer = ended(pair, handle)
    assert (answer.state, answer.reason) == (State.SUCCEEDED, None)
    assert works(run).count(works(run)[0]) == done
