"""The cluster that the other tests stand on."""

from __future__ import annotations

import subprocess
from pathlib import Path

from launched import until
from services.slurm import Slurm
from services.sshd import Sshd


def test_a_job_runs_and_is_accounted_for(slurm: Slurm, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\nexit 3\n")
    job = slurm.run("sbatch", "--parsable", f"--output={tmp_path}/log", str(script)).strip()
    ask = ["sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode"]
    assert until(lambda: slurm.run(*ask).strip() == "FAILED|3:0", "sacct knows how it ended")


def test_the_cluster_is_reached_by_ssh(slurm: Slurm, sshd: Sshd, own_environment: Path) -> None:
    # ssh itself takes the home from the password database.
    config = ["-F", str(own_environment / ".ssh" / "config")]
    config.append(f"-oUserKnownHostsFile={own_environment}/.ssh/known_hosts")
    done = subprocess.run(
        ["ssh", *config, "-oBatchMode=yes", "cluster", "sinfo -h -o %P"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "main*" in done.stdout.split()
