"""The texts that a head node runs, in each shell that it may have, where a folder or a command is missing."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import Refused, Unreachable
from launched import RESULTS, Place, ended, here, status, supervise, there, until, wait_for
from launcher.backends import slurm_commands as commands
from launcher.backends.slurm_answers import read_status
from launcher.backends.slurm_names import named
from launcher.jobs import RunPlan, SecretName, State
from launcher.runs.database import Database
from services.slurm import Slurm

WAIT = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS


def asked(shell: list[str], folders: list[Path], commands_of: Path) -> bytes:
    jobs = [(named(f"r-{index:03d}", 1), str(folder)) for index, folder in enumerate(folders)]
    text = commands.status(jobs, ["1"] * len(jobs), {"slurm_bin": str(commands_of)})
    return subprocess.run([*shell, "-c", text], capture_output=True, check=True, timeout=60).stdout


@pytest.fixture
def slurms(tmp_path: Path) -> Path:
    """Commands of a Slurm that knows nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "sacct"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_each_folder_is_opened_and_may_be_missing(shell: list[str], slurms: Path, tmp_path: Path) -> None:
    """NFS learns by that what has changed in it. A pipe in a folder's place shows that it was."""
    jobs = tmp_path / "r" / "jobs"
    jobs.mkdir(parents=True)
    pipe = jobs / "pipe"
    os.mkfifo(pipe)
    whole = jobs / "whole"
    whole.mkdir()
    (whole / "exit.json").write_text('{"exit_code": 0, "reason": null, "attempt": 1}')
    opened: list[bool] = []

    def wait() -> None:
        with pipe.open("wb"):
            opened.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    folders = read_status(asked(shell, [jobs / "missing", pipe, whole], slurms)).folders
    waiting.join(10)
    assert opened == [True]
    assert [folder.exit is not None for folder in folders] == [False, False, True]


def test_a_folder_is_gone_only_where_its_run_is_there(shell: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "it's run" / "jobs" / "000"

    def listed() -> bytes:
        text = commands.listing(str(folder))
        return subprocess.run([*shell, "-c", text], capture_output=True, check=True, timeout=60).stdout

    assert listed() == b"away\n"
    (folder.parent.parent / ".slurm").mkdir(parents=True)
    assert listed() == b"gone\n"
    folder.parent.mkdir()
    folder.write_text("no folder")
    assert listed() == b"away\n"
    folder.unlink()
    folder.mkdir()
    assert listed().endswith(b"\0\0end\0")


def test_results_wait_until_their_file_system_is_there_again(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    handle = on_slurm.submit(run)
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    away = Path(str(run.remote)).rename(tmp_path / "away")
    with pytest.raises(Unreachable, match="its folder can't be opened") as caught:
        on_slurm.collect(run, handle)
    assert "mounted there" in str(caught.value.hint)
    away.rename(str(run.remote))
    on_slurm.collect(run, handle)
    assert (here(run) / "artifacts" / "results.yml").is_file()


@pytest.fixture
def without_accounting(on_slurm: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The head node is this machine, and has no `sacct`."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        for command in place.iterdir() if place.is_dir() else ():
            if command.name != "sacct" and not (folder / command.name).is_symlink():
                (folder / command.name).symlink_to(command)
    monkeypatch.setenv("PATH", str(folder))
    return replace(on_slurm, settings={**on_slurm.settings, "hostname": None})


def interrupted(run: RunPlan) -> None:
    """As if a launcher had ended while it submitted the run's first job."""
    own = Path(str(run.remote)) / ".slurm"
    own.mkdir(parents=True)
    (own / f"evaldock-{run.jobs[0].key}-1.sending").touch()


def test_a_cluster_that_has_no_sacct(without_accounting: Place, tmp_path: Path) -> None:
    place = without_accounting
    run = place.run(tmp_path / "here", WAIT)
    interrupted(run)
    handle = place.submit(run)
    wait_for(there(run) / "artifacts" / "ready")
    assert status(place, handle).state is State.RUNNING
    (there(run) / "artifacts" / "go").touch()
    assert ended(place, handle).state is State.SUCCEEDED
    (there(run) / "exit.json").unlink()
    until(lambda: status(place, handle).state is State.LOST, "the queue has forgotten it")


def secret(run: RunPlan) -> RunPlan:
    names = (SecretName(name="KEY", source="K"),)
    return replace(run, jobs=tuple(replace(job, secrets=names) for job in run.jobs))


def test_files_that_can_not_be_laid_down_leave_no_secrets(on_slurm: Place, tmp_path: Path) -> None:
    run = secret(on_slurm.run(tmp_path / "here", *[RESULTS] * 2, parallel=2))
    # Where it belongs there is something else.
    (there(run, 1) / "node.sh" / "folder").mkdir(parents=True)
    secrets = {job.key: {"KEY": "k"} for job in run.jobs}
    with pytest.raises(Refused, match=r"nothing can be written there: tar: jobs/001-t1/node\.sh: "):
        on_slurm.backend.submit_together(run, run.jobs, 1, secrets, at_once=2)  # type: ignore[attr-defined]
    root = Path(str(run.remote))
    assert (there(run) / "node.sh").exists()
    assert not [*root.rglob(".secrets*"), *root.rglob("*.sending")]


def test_a_full_disk_is_waited_for(on_slurm: Place, small_disk: Path, tmp_path: Path) -> None:
    place = replace(on_slurm, remote=str(small_disk))
    run = secret(place.run(tmp_path / "here", RESULTS))
    filler = small_disk / "filler"
    filler.write_bytes(b"." * ((1 << 20) - 8192))
    with pytest.raises(Unreachable, match="nothing could be laid down there: tar: ") as caught:
        place.submit(run, secrets={"K": "k"})
    assert "make room there" in str(caught.value.hint)
    assert not [*small_disk.rglob(".secrets*")]
    filler.unlink()
    # The nodes don't have this disk.
    handle = place.submit(run, secrets={"K": "k"})
    assert handle.native_id.isdigit()
    assert ended(place, handle).state is State.FAILED


def refusing(run: RunPlan, folder: Path, said: str, *, sends: bool = False) -> RunPlan:
    """A cluster whose sbatch says this, and may have handed the job over nevertheless."""
    folder.mkdir()
    real = subprocess.run(
        ["sh", "-c", "command -v sbatch"], capture_output=True, text=True, check=True
    ).stdout
    send = f'{real.strip()} "$@" >/dev/null\n' if sends else ""
    (folder / "sbatch").write_text(f"#!/bin/sh\n{send}echo 'sbatch: error: {said}' >&2\nexit 1\n")
    (folder / "sbatch").chmod(0o755)
    return replace(run, settings={**run.settings, "slurm_bin": str(folder)})


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("AssocGrpSubmitJobsLimit", "Slurm takes no more jobs"),
        ("QOSGrpSubmitJobsLimit", "Slurm takes no more jobs"),
        ("Batch job submission failed: Slurm backup controller in standby mode", "Slurm doesn't answer"),
        ("Batch job submission failed: Protocol authentication error", "Slurm doesn't answer"),
    ],
)
def test_what_passes_does_not_fail_a_run(
    on_slurm: Place, tmp_path: Path, database: Database, said: str, meant: str
) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    away = refusing(run, tmp_path / "bin", said)
    with pytest.raises(Unreachable, match=meant):
        on_slurm.submit(away)
    (tmp_path / "bin" / "sbatch").unlink()
    database.record(away)
    assert [row.state for row in supervise(database, away)] == [State.SUCCEEDED]


def test_a_submission_without_an_answer_is_looked_for(on_slurm: Place, slurm: Slurm, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    said = "Batch job submission failed: Zero Bytes were transmitted or received"
    with pytest.raises(Unreachable, match="Slurm doesn't answer"):
        on_slurm.submit(refusing(run, tmp_path / "bin", said, sends=True))
    handle = on_slurm.submit(run)
    name = f"evaldock-{handle.key}-1"
    assert slurm.run("squeue", "-h", "--states=all", "-n", name, "-o", "%i").split() == [handle.native_id]
    assert ended(on_slurm, handle).state is State.SUCCEEDED
