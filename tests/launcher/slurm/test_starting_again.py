"""What Slurm itself does to jobs: takes their time, their node, their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, Place, changed, ended, status, there, until, wait_for
from launcher.jobs import JobHandle, RunPlan, SecretName, State
from services.slurm import Slurm

# Counts its starts, and goes on from where the last one left off.
COUNT = (
    'echo "$KEY" >>{out}/starts; touch {out}/ready; '
    "if [ $(wc -l <{out}/starts) -lt 2 ]; then while :; do sleep 0.1; done; fi; " + RESULTS
)
SECRET = {"K": "the-key"}


def submitted(place: Place, folder: Path, **settings: Any) -> tuple[RunPlan, JobHandle]:
    run = changed(place.run(folder / "here", COUNT), secrets=(SecretName(name="KEY", source="K"),))
    run = replace(run, settings={**run.settings, **settings})
    handle = place.submit(run, secrets=SECRET)
    wait_for(there(run) / "artifacts" / "ready")
    return run, handle


def starts(run: RunPlan) -> list[str]:
    return (there(run) / "artifacts" / "starts").read_text().splitlines()


def check_second(run: RunPlan, place: Place, handle: JobHandle) -> None:
    answer = ended(place, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.SUCCEEDED, 0, None)
    assert starts(run) == ["the-key"] * 2
    # It may have been asked about as it was queued, and have left its exit.json just then.
    until(lambda: not [*there(run).rglob(".secrets*")], "its secrets are gone")


# Slurm looks at walltimes twice a minute, and may ask a minute too early.
TIME: Mapping[str, Any] = {"walltime": 60, "stop_before": 45, "auto_resume": True}


def test_time_that_is_up_goes_on_in_a_second_start(on_slurm: Place, tmp_path: Path) -> None:
    run, handle = submitted(on_slurm, tmp_path, **TIME)
    check_second(run, on_slurm, handle)


def test_all_time_that_is_up_ends_it(on_slurm: Place, tmp_path: Path) -> None:
    run, handle = submitted(on_slurm, tmp_path, **TIME, max_walltime=1)
    answer = ended(on_slurm, handle)
    assert (answer.state, answer.exit_code) == (State.FAILED, 124)
    assert answer.reason == "its total walltime of 00:00:01 is used up"
    assert not [*there(run).rglob(".secrets*")]


@pytest.mark.parametrize("partition", ["low", "scavenge"], ids=["queued-again", "cancelled"])
def test_a_job_that_lost_its_place_goes_on(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, partition: str
) -> None:
    run, handle = submitted(on_slurm, tmp_path, partition=partition, cpus_per_task=8)
    wanted = ["sbatch", "--parsable", "--partition=high", "--cpus-per-task=8", "--output=/dev/null"]
    other = slurm.run(*wanted, "--wrap=sleep 3").strip()
    until(lambda: status(on_slurm, handle).state is State.QUEUED, "it has lost its place")
    check_second(run, on_slurm, handle)
    assert slurm.run("sacct", "-X", "-n", "-P", "-j", other, "-o", "State").strip() == "COMPLETED"
