"""Stopping many jobs of a run: one command, and each as if it were alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import Unreachable
from cuttable import relay
from launched import RESULTS, Place, exit_of, states, status, supervise, there, until, wait_for
from launcher.backends import slurm
from launcher.jobs import JobHandle, RunPlan, SecretName, State
from launcher.runs.database import Database, JobRow
from launcher.runs.supervisor import request_stop, tick
from services.slurm import Slurm
from services.sshd import Sshd
from slurm_place import slurm_place

WAIT = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS
# Asked to stop, it goes on.
DEAF = "trap '' TERM; " + WAIT


def handles(run: RunPlan, rows: Sequence[JobRow]) -> list[JobHandle]:
    return [replace(handle, settings=run.settings) for row in rows if (handle := row.handle("slurm"))]


def begun(database: Database, run: RunPlan) -> list[JobHandle]:
    database.record(run)
    return handles(run, tick(database, run.run_id, {}))


@pytest.fixture
def counted(request: pytest.FixtureRequest, sshd: Sshd, own_environment: Path) -> Iterator[Place]:
    """Slurm behind an SSH connection of the test's own; `unset` is how many commands went through it."""
    with relay(sshd.port) as between:
        sshd.introduce(own_environment, "stopping", port=between.port)
        yield replace(
            slurm_place(request, hostname="stopping"), native=lambda _: str(sshd.commands(between.ports))
        )


@pytest.mark.parametrize("array", [True, False])
def test_a_run_is_stopped_by_one_command(
    counted: Place, tmp_path: Path, database: Database, array: bool
) -> None:
    run = counted.run(tmp_path / "here", *[WAIT] * 5, parallel=2 if array else 5)
    run = replace(run, settings={**run.settings, "array": array})
    asked = begun(database, run)
    assert len(asked) == 5
    for index in (0, 1):
        wait_for(there(run, index) / "artifacts" / "ready")
    request_stop(database, run.run_id)
    before = int(counted.native(asked[0]))
    tick(database, run.run_id, {})
    # How they are, and that they shall stop.
    until(lambda: int(counted.native(asked[0])) - before >= 2, "the server counts them")
    assert int(counted.native(asked[0])) - before == 2
    assert states(supervise(database, run)) == [State.CANCELLED] * 5
    for index in (0, 1):
        assert exit_of(asked[index])["reason"] == "stopped on request"


def test_only_those_that_are_named_are_stopped(on_slurm: Place, tmp_path: Path, database: Database) -> None:
    run = on_slurm.run(tmp_path / "here", *[WAIT] * 12, parallel=2)
    run = replace(
        run, jobs=tuple(replace(job, secrets=(SecretName(name="KEY", source="K"),)) for job in run.jobs)
    )
    database.record(run)
    asked = handles(run, tick(database, run.run_id, {"K": "k"}))
    for index in (0, 1):
        wait_for(there(run, index) / "artifacts" / "ready")
    stopped = [asked[0], asked[2], asked[11]]
    slurm.cancel_together(stopped)
    for each in stopped:
        until(lambda each=each: status(on_slurm, each).state is State.CANCELLED, "it is stopped")  # type: ignore[misc]
    others = [each for each in asked if each not in stopped]
    assert not [each for each in on_slurm.backend.status(others).values() if each.state.terminal]
    # Of what waits, and is to run, they stay.
    waiting = [bool(list(Path(each.directory).glob(".secrets*"))) for each in asked]
    assert [waiting[index] for index in (2, 3, 11)] == [False, True, False]
    slurm.cancel_together(asked)
    supervise(database, run, {"K": "k"})
    assert not list(Path(str(run.remote)).rglob(".secrets*"))


def test_one_that_does_not_listen_is_ended_when_it_is_asked_again(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", DEAF, WAIT, parallel=2)
    asked = begun(database, run)
    for index in (0, 1):
        wait_for(there(run, index) / "artifacts" / "ready")
    noted = Path(str(run.remote)) / ".slurm" / f"evaldock-{asked[0].key}-1.stopping"
    noted.touch()
    long_ago = time.time() - 60
    os.utime(noted, (long_ago, long_ago))
    slurm.cancel_together(asked)
    until(lambda: {each.state for each in on_slurm.backend.status(asked).values()} == {State.CANCELLED})
    assert exit_of(asked[1])["reason"] == "stopped on request"


def test_where_it_cannot_be_noted_they_are_ended(on_slurm: Place, tmp_path: Path, database: Database) -> None:
    run = on_slurm.run(tmp_path / "here", WAIT)
    (asked,) = begun(database, run)
    wait_for(there(run) / "artifacts" / "ready")
    Path(str(run.remote)).rename(tmp_path / "away")
    on_slurm.backend.cancel(asked)
    until(lambda: status(on_slurm, asked).state is State.CANCELLED, "it is stopped")


def test_who_cannot_be_asked_says_so(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[WAIT] * 2, parallel=2)
    asked = begun(database, run)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scancel"):
        command = folder / name
        command.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
        command.chmod(0o755)
        away = [replace(each, settings={**each.settings, "slurm_bin": str(folder)}) for each in asked]
        with pytest.raises(Unreachable, match="Slurm did not stop it: Unable to contact"):
            on_slurm.backend.cancel_together(away)  # type: ignore[attr-defined]
        command.unlink()
    request_stop(database, run.run_id)
    assert states(supervise(database, run)) == [State.CANCELLED] * 2
