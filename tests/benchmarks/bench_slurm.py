"""Slurm: one question for any number of jobs, and submitting beside a plain loop of sbatch."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import Sample, alternate
from benchmarks.reporting import Report, Table, seconds, times
from launched import RESULTS, Place
from launcher.backends import slurm as backend
from launcher.backends.slurm_names import array_name
from launcher.jobs import JobHandle, RunPlan, State
from launcher.runs import run_id
from services.processes import stop_all
from services.shared import Shared
from services.slurm import Slurm, start_slurm
from services.sshd import Sshd, start_sshd

JOBS = 500
COMPARED = 25
ROUNDS = 2


def run() -> Report:
    report = Report("Slurm")
    home = os.environ.get("HOME", "")
    with tempfile.TemporaryDirectory(prefix="evaldock-bench-") as name:
        os.environ["HOME"] = name
        try:
            with _cluster() as (slurm, sshd):
                sshd.introduce(Path(name))
                # Nothing that is submitted starts: only the submitting is measured.
                slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
                _submitting(report, slurm, Path(name))
                _asking(report, slurm, sshd, Path(name))
        finally:
            os.environ["HOME"] = home
    return report


@contextmanager
def _cluster() -> Iterator[tuple[Slurm, Sshd]]:
    shared = Shared(Path(tempfile.mkdtemp(prefix="evaldock-bench-")), os.getpid())
    try:
        found = shared.once("slurm", lambda folder: start_slurm(shared, folder))
        slurm = Slurm(Path(found["conf"]), found["cluster"], Path(found["sql"]), found["owner"])
        made = shared.once("sshd", lambda folder: start_sshd(shared, folder))
        os.environ["SLURM_CONF"] = str(slurm.conf)
        yield slurm, Sshd(made["port"], made["user"], Path(made["key"]), Path(made["host_key"]))
    finally:
        os.environ.pop("SLURM_CONF", None)
        stop_all(shared.folder)


def _submitting(report: Report, slurm: Slurm, folder: Path) -> None:
    script = folder / "job.sh"
    script.write_text("#!/bin/sh\ntrue\n")
    sbatch = ["sbatch", "--parsable", f"--chdir={folder}", "--output=/dev/null", str(script)]
    config = ["-F", f"{folder}/.ssh/config", f"-oUserKnownHostsFile={folder}/.ssh/known_hosts"]
    ways: dict[str, Callable[[], Sample]] = {
        "sbatch, in a loop on the head node": lambda: _loop(sbatch),
        "ssh HOST sbatch, in a loop": lambda: _loop(["ssh", *config, "cluster", *sbatch]),
        "evaldock on the head node": lambda: _ours(folder, {}),
        "evaldock by SSH": lambda: _ours(folder, {"hostname": "cluster"}),
        "evaldock by SSH, as one array": lambda: _array(folder, {"hostname": "cluster"}),
    }
    measured = alternate(ways, rounds=ROUNDS)
    slurm.run("scancel", "--partition=main")
    title = f"{COMPARED} jobs submitted"
    note = (
        "One after another, where it isn't said otherwise. evaldock also lays each job's files down, "
        "under a lock, and keeps the number that it got."
    )
    plain, by_hand, here, far, array = (one.wall for one in measured.values())
    rows = [
        (one.name, seconds(one.wall), f"{COMPARED / one.wall:.1f}", times(one.wall / plain))
        for one in measured.values()
    ]
    columns = ("", "seconds", "jobs/s", "times as long")
    report.tables.append(Table(title=title, columns=columns, rows=rows, note=note))
    report.target(
        "submitting on the head node beside a plain loop of sbatch", "3 times as long at most",
        f"{here / plain:.1f} times", here / plain <= 3,
    )  # fmt: skip
    report.target(
        "submitting by SSH beside a loop of ssh HOST sbatch", "no slower", f"{far / by_hand:.2f} times",
        far <= by_hand,
    )  # fmt: skip
    report.target(
        f"submitting {COMPARED} jobs by SSH as one array beside a plain loop of sbatch on the head node",
        "no slower", f"{array / plain:.2f} times", array <= plain,
    )  # fmt: skip


def _loop(command: Sequence[str]) -> Sample:
    began = time.perf_counter()
    for _ in range(COMPARED):
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return _sample(began)


def _ours(folder: Path, settings: dict[str, str]) -> Sample:
    run = _planned(folder, COMPARED, settings)
    began = time.perf_counter()
    for job in run.jobs:
        backend.submit(run, job, 1, {})
    return _sample(began)


def _array(folder: Path, settings: dict[str, str]) -> Sample:
    run = _planned(folder, COMPARED, settings)
    began = time.perf_counter()
    backend.submit_together(run, run.jobs, 1, {job.key: {} for job in run.jobs}, at_once=COMPARED)
    return _sample(began)


def _sample(began: float) -> Sample:
    wall = time.perf_counter() - began
    return Sample(wall=wall, cpu=0.0)


def _planned(folder: Path, jobs: int, settings: dict[str, str]) -> RunPlan:
    identity = run_id.new()
    remote = f"{folder}/cluster/{identity}" if settings else None
    place = Place("slurm", settings={**settings, "partition": "main", "container_runtime": "none"})
    run = place.run(folder / "runs", *[RESULTS] * jobs, identity=identity)
    return replace(run, remote=remote)


def _asking(report: Report, slurm: Slurm, sshd: Sshd, folder: Path) -> None:
    run = _planned(folder, JOBS, {"hostname": "cluster"})
    for job in run.jobs:
        Path(run.folder(job)).mkdir(parents=True)
    # All of them at once, as an array: how they came into the queue is not measured here.
    named = f"--job-name={array_name(run.run_id, 1)}"
    wanted = ["sbatch", "--parsable", f"--array=0-{JOBS - 1}", "--output=/dev/null", "--wrap=true"]
    array = slurm.run(*wanted, named).strip()
    handles = [
        JobHandle(
            key=job.key,
            backend="slurm",
            native_id=f"{array}_{job.index}",
            directory=run.folder(job),
            settings=run.settings,
        )
        for job in run.jobs
    ]
    before, began = sshd.commands(), time.perf_counter()
    answers = backend.status(handles)
    took = time.perf_counter() - began
    asking = sshd.commands() - before
    queued = sum(answer.state is State.QUEUED for answer in answers.values())
    report.tables.append(
        Table(
            title=f"{JOBS} jobs in the queue, by SSH",
            columns=("", "remote commands", "seconds"),
            rows=[("one status poll of all of them", str(asking), seconds(took))],
            note="The server counted the commands.",
        )
    )
    report.target(
        f"one status poll for {JOBS} jobs",
        "one remote command",
        f"{asking} ({queued} jobs found)",
        asking == 1 and queued == JOBS,
    )
