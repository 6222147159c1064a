"""The backend on a real cluster."""

from __future__ import annotations

from pathlib import Path

from launched import RESULTS, Place, ended, here, supervise
from launcher.database import Database
from launcher.jobs import State


def test_a_job_runs_and_is_collected(on_slurm: Place, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", "echo hello; " + RESULTS)
    handle = on_slurm.submit(run)
    answer = ended(on_slurm, handle)
    assert (answer.state, answer.exit_code, answer.reason) == (State.SUCCEEDED, 0, None)
    on_slurm.collect(run, handle)
    assert (here(run) / "logs" / "job.log").read_text() == "hello\n"
    assert (here(run) / "artifacts" / "results.yml").is_file()


def test_a_job_in_a_container_runs(on_head_node: Place, tmp_path: Path, database: Database) -> None:
    run = on_head_node.run(tmp_path, "echo hello; " + RESULTS)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
