"""The port of the proxy that the container contract's runner starts: each job of a machine has its own."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from launched import Place
from launcher.jobs import JobPlan
from launcher.node.job_script import job_script

# What the contract's runner is asked with is `run_eval --run_config FILE --output_dir FOLDER`.
RUNNER = '#!/bin/sh\nprintf %s "$ADAPTER_PORT" >"$5/port"\n'


def jobs(folder: Path, count: int) -> tuple[JobPlan, ...]:
    return Place("process").run(folder, *["exit 1"] * count).jobs


def port_of(job: JobPlan, folder: Path, shell: list[str]) -> int:
    """Its script is really run, with a contract's runner that only takes note."""
    here = folder / job.directory
    for each in ("logs", "artifacts", "bin"):
        (here / each).mkdir(parents=True, exist_ok=True)
    (here / "run_config.yml").write_text("{}")
    (here / "run.sh").write_text(job_script(job, results=str(here / "artifacts")))
    runner = here / "bin" / "nemo-evaluator"
    runner.write_text(RUNNER)
    runner.chmod(0o755)
    # A session of its own: at its end the script sees to it that nothing of its process group goes on.
    done = subprocess.run(
        [*shell, str(here / "run.sh")],
        env={"PATH": f"{runner.parent}{os.pathsep}{os.environ['PATH']}"},
        start_new_session=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, (here / "logs" / "job.log").read_text()
    return int((here / "artifacts" / "port").read_text())


def test_jobs_of_a_run_have_ports_of_their_own(tmp_path: Path, shell: list[str]) -> None:
    found = [port_of(job, tmp_path, shell) for job in jobs(tmp_path, 3)]
    assert len(set(found)) == 3
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    # An outgoing connection of anybody could have one that lies higher.
    assert max(found) < lowest
    assert min(found) >= 20_000


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_is_in_use_is_passed_over(tmp_path: Path, shell: list[str], address: str) -> None:
    first, second = jobs(tmp_path, 2)
    before, neighbour = port_of(first, tmp_path, shell), port_of(second, tmp_path, shell)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, before), family=family):
        now = port_of(first, tmp_path, shell)
    assert now not in {before, neighbour}
    assert 20_000 <= now < 28_000


def test_a_port_that_was_given_stays(tmp_path: Path, shell: list[str]) -> None:
    (job,) = jobs(tmp_path, 1)
    assert port_of(replace(job, env={"ADAPTER_PORT": "12345"}), tmp_path, shell) == 12345
