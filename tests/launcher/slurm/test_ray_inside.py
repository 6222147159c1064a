"""A Ray cluster inside a Slurm job: its head and workers are the job's nodes, without GPUs too."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launched import RESULTS, Place, artifacts, status, there, until
from launcher.jobs import JobHandle, JobStatus, State

pytestmark = pytest.mark.timeout(600)
ASK = """
import ray, sys
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=1)
def where():
    return ray.get_runtime_context().get_node_id()
print(len(ray.nodes()), int(ray.cluster_resources()["CPU"]), len(ray.get(where.remote())) > 0)
"""


def over(place: Place, handle: JobHandle) -> JobStatus | None:
    answer = status(place, handle)
    return answer if answer.state.terminal else None


def test_the_job_asks_a_cluster_of_its_own(on_slurm: Place, tmp_path: Path) -> None:
    command = f"{sys.executable} -c {shlex.quote(ASK)} >{{out}}/nodes; {RESULTS}"
    run = on_slurm.run(tmp_path / "here", command)
    ray_bin = str(Path(sys.executable).parent)
    more = {"with_ray": True, "ray_bin": ray_bin, "nodes": 2, "cpus_per_task": 2}
    run = replace(run, settings={**run.settings, **more})
    handle = on_slurm.submit(run)
    answer = until(lambda: over(on_slurm, handle), "the job ends", patience=300)
    logs = there(run) / "logs"
    said = (logs / "job.log").read_text() + (logs / "ray.log").read_text()
    assert (answer.state, answer.reason) == (State.SUCCEEDED, None), said
    assert (artifacts(handle) / "nodes").read_text().split() == ["2", "4", "True"]
