"""The backend on a real cluster: what only Slurm has."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from catalog.errors import Refused, Unreachable
from cuttable import relay
from launched import RESULTS, Place, changed, ended, here, states, status, supervise, there, until, wait_for
from launcher.jobs import Deployment, JobHandle, Resources, RunPlan, SecretName, State
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
from services.processes import free_port
from services.slurm import Slurm
from services.sshd import Sshd
from slurm_place import slurm_place

WAIT = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS


def depending(place: Place, folder: Path, *commands: str) -> RunPlan:
    """Each job but the first needs the one before it."""
    run = place.run(folder / "here", *commands, parallel=len(commands))
    first, *rest = run.jobs
    jobs = [first]
    for job in rest:
        jobs.append(replace(job, depends_on=(jobs[-1].key,)))
    return replace(run, jobs=tuple(jobs))


def test_each_call_is_one_command_there(
    request: pytest.FixtureRequest, sshd: Sshd, own_environment: Path, tmp_path: Path
) -> None:
    with relay(sshd.port) as between:
        sshd.introduce(own_environment, "counted", port=between.port)
        place = slurm_place(request, hostname="counted")
        run = place.run(tmp_path / "here", *["echo hello; " + RESULTS] * 3)

        def counted(call: Callable[[], object]) -> int:
            before = sshd.commands(between.ports)
            call()
            # The server writes its log behind what it answers.
            until(lambda: sshd.commands(between.ports) > before, "the server counts it")
            return sshd.commands(between.ports) - before

        handles: list[JobHandle] = []
        for job in run.jobs:
            submit = partial(place.backend.submit, run, job, 1, {})
            assert counted(lambda submit=submit: handles.append(submit())) == 1  # type: ignore[misc]
        assert counted(lambda: place.backend.status(handles)) == 1
        for handle in handles:
            assert ended(place, handle).state is State.SUCCEEDED
        assert counted(lambda: place.backend.cancel(handles[0])) == 1
        assert counted(lambda: place.backend.logs(handles[0], 0)) == 1
        assert counted(lambda: place.collect(run, handles[0])) == 1
    assert (here(run) / "logs" / "job.log").read_text() == "hello\n"


def test_what_arrived_before_a_crash_is_found_by_its_name(on_slurm: Place, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", "echo once >>{out}/count; " + WAIT)
    handle = on_slurm.submit(run)
    number = Path(str(run.remote)) / ".slurm" / f"evaldock-{handle.key}-1.id"
    wait_for(there(run) / "artifacts" / "ready")
    for finished in (False, True):
        if finished:
            (there(run) / "artifacts" / "go").touch()
        # The head node died between sbatch's answer and the keeping of it.
        number.unlink()
        assert status(on_slurm, replace(handle, native_id="")).state in (State.RUNNING, State.SUCCEEDED)
        assert on_slurm.submit(run) == handle
        assert number.read_text().strip() == handle.native_id
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    number.unlink()
    until(
        lambda: status(on_slurm, replace(handle, native_id="")).state is State.SUCCEEDED, "accounting knows"
    )
    assert on_slurm.submit(run) == handle
    assert (there(run) / "artifacts" / "count").read_text() == "once\n"


def test_jobs_wait_for_one_another_in_slurm(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = depending(on_slurm, tmp_path, WAIT, "touch {out}/ran; " + RESULTS)
    database.record(run)
    rows = tick(database, run.run_id, {})
    assert None not in [row.native_id for row in rows]
    shown = slurm.run("squeue", "-h", "-j", str(rows[1].native_id), "-o", "%T %E")
    assert shown.startswith(f"PENDING afterok:{rows[0].native_id}")
    wait_for(there(run) / "artifacts" / "ready")
    assert not (there(run, 1) / "artifacts" / "ran").exists()
    (there(run) / "artifacts" / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2


def test_a_job_that_fails_takes_those_behind_it_along(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = depending(on_slurm, tmp_path, WAIT.replace(RESULTS, "exit 3"), "touch {out}/ran; " + RESULTS)
    database.record(run)
    tick(database, run.run_id, {})
    (wait_for(there(run) / "artifacts" / "ready").parent / "go").touch()
    rows = supervise(database, run)
    assert states(rows) == [State.FAILED] * 2
    assert "its dependency" in str(rows[1].reason)
    assert not (there(run, 1) / "artifacts" / "ran").exists()


def test_a_job_that_never_started_leaves_no_secrets(on_slurm: Place, slurm: Slurm, tmp_path: Path) -> None:
    run = changed(on_slurm.run(tmp_path / "here", RESULTS), secrets=(SecretName(name="KEY", source="K"),))
    run = replace(run, settings={**run.settings, "sbatch_args": ["--begin=now+1hour"]})
    handle = on_slurm.submit(run, secrets={"K": "k"})
    assert [path.name for path in there(run).glob(".secrets*")] == [".secrets.slurm"]
    assert "KEY" not in slurm.run("scontrol", "show", "job", handle.native_id)
    answer = status(on_slurm, handle)
    assert (answer.state, answer.reason) == (State.QUEUED, "BeginTime")
    on_slurm.backend.cancel(handle)
    assert ended(on_slurm, handle).state is State.CANCELLED
    assert not list(there(run).rglob(".secrets*"))


def test_what_slurm_refuses_is_said(on_slurm: Place, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    wrong = replace(run, settings={**run.settings, "partition": "nowhere"})
    with pytest.raises(Refused, match="Slurm refused the job: invalid partition") as caught:
        on_slurm.submit(wrong)
    assert caught.value.place == "cluster"
    # The same key may still go elsewhere.
    assert ended(on_slurm, on_slurm.submit(run)).state is State.SUCCEEDED


def test_a_folder_that_cannot_be_written_is_said_with_its_setting(on_slurm: Place, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    with pytest.raises(Refused, match=r"nothing can be written there: mkdir: .*/proc/nowhere") as caught:
        on_slurm.submit(replace(run, remote=f"/proc/nowhere/{run.run_id}"))
    assert "execution.output_dir" in str(caught.value.hint)


AWAY = [
    ("Unable to contact slurm controller (connect failure)", 1, "Unreachable: cluster: Slurm doesn't answer"),
    ("Socket timed out on send/recv operation", 1, "Unreachable: cluster: Slurm doesn't answer"),
    ("not found", 127, "Refused: cluster: Slurm's commands are not to be found"),
]


@pytest.mark.parametrize("trouble", AWAY, ids=["no-controller", "no-answer", "no-command"])
def test_a_controller_that_is_away_is_asked_again(
    on_slurm: Place, tmp_path: Path, trouble: tuple[str, int, str]
) -> None:
    said, code, words = trouble
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(f"#!/bin/sh\necho 'sbatch: error: {said}' >&2\nexit {code}\n")
    (folder / "sbatch").chmod(0o755)
    run = on_slurm.run(tmp_path / "here", RESULTS)
    away = replace(run, settings={**run.settings, "slurm_bin": str(folder)})
    with pytest.raises((Unreachable, Refused)) as caught:
        on_slurm.submit(away)
    assert f"{type(caught.value).__name__}: {caught.value}".startswith(words)
    assert ended(on_slurm, on_slurm.submit(run)).state is State.SUCCEEDED


def test_without_accounting_the_queue_and_exit_json_tell(on_slurm: Place, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sacct").write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled'\nexit 1\n")
    (folder / "sacct").chmod(0o755)
    run = on_slurm.run(tmp_path / "here", WAIT)
    run = replace(run, settings={**run.settings, "slurm_bin": str(folder)})
    handle = on_slurm.submit(run)
    wait_for(there(run) / "artifacts" / "ready")
    assert status(on_slurm, handle).state is State.RUNNING
    (there(run) / "artifacts" / "go").touch()
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    (there(run) / "exit.json").unlink()
    until(lambda: status(on_slurm, handle).state is State.LOST, "the queue has forgotten it")


def test_a_step_gets_the_jobs_processors(on_slurm: Place, tmp_path: Path) -> None:
    show = "'scontrol show step $SLURM_JOB_ID.$SLURM_STEP_ID >{out}/step'"
    run = on_slurm.run(
        tmp_path / "here", f"srun --exact --overlap --nodes=1 --ntasks=1 sh -c {show}; {RESULTS}"
    )
    run = replace(run, settings={**run.settings, "cpus_per_task": 3})
    assert ended(on_slurm, on_slurm.submit(run)).state is State.SUCCEEDED
    assert " CPUs=3 " in (there(run) / "artifacts" / "step").read_text()


def test_a_server_is_started_on_every_node(on_slurm: Place, tmp_path: Path, database: Database) -> None:
    port, seen = free_port(), tmp_path / "seen"
    # The two nodes are one machine here: only one of them can have the port.
    serve = (
        f'echo "$SLURM_PROCID" >>{seen}; [ "$SLURM_PROCID" = 0 ] || exec sleep 600; '
        f"exec {sys.executable} -m http.server --bind 127.0.0.1 --directory {tmp_path} {port}"
    )
    server = Deployment(
        type="generic",
        image=None,
        command=("sh", "-c", serve),
        port=port,
        health_path="/",
        deadline=60.0,
        resources=Resources(nodes=2),
    )
    run = changed(on_slurm.run(tmp_path / "here", RESULTS), deployment=server)
    run = replace(run, settings={**run.settings, "nodes": 2})
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)
    assert sorted(seen.read_text().split()) == ["0", "1"]


def test_a_job_in_a_container_runs_on_the_head_nodes_cluster(
    on_head_node: Place, tmp_path: Path, database: Database
) -> None:
    run = on_head_node.run(tmp_path, "echo hello; " + RESULTS)
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.reason) == (State.SUCCEEDED, None)


def test_an_empty_number_is_none(on_slurm: Place, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", "echo once >>{out}/count; " + WAIT)
    handle = on_slurm.submit(run)
    wait_for(there(run) / "artifacts" / "ready")
    # The disk was full when it was to be kept, and then the launcher ended.
    (Path(str(run.remote)) / ".slurm" / f"evaldock-{handle.key}-1.id").write_text("")
    assert on_slurm.submit(run) == handle
    (there(run) / "artifacts" / "go").touch()
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    assert (there(run) / "artifacts" / "count").read_text() == "once\n"


def test_a_number_that_is_another_jobs_is_not_stopped(on_slurm: Place, slurm: Slurm, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    handle = on_slurm.submit(run)
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    other = slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60").strip()
    reused = replace(handle, native_id=other)
    assert status(on_slurm, reused).state is State.SUCCEEDED
    for _ in range(2):
        on_slurm.backend.cancel(reused)
    assert slurm.run("squeue", "-h", "-j", other, "-o", "%T").strip() in ("PENDING", "RUNNING")
    slurm.run("scancel", other)


def test_a_log_that_leads_elsewhere_is_not_read(on_slurm: Place, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("private")
    run = on_slurm.run(tmp_path / "here", f"ln -sf {tmp_path}/key logs/job.log; {WAIT}")
    handle = on_slurm.submit(run)
    wait_for(there(run) / "artifacts" / "ready")
    assert on_slurm.backend.logs(handle, 0).data == b""
    (there(run) / "artifacts" / "go").touch()
    ended(on_slurm, handle)


@pytest.mark.parametrize("answer", ['echo Welcome; "$real" "$@"; echo Bye', '"$real" "$@" >/dev/null'])
def test_an_sbatch_of_the_sites_own(on_slurm: Place, slurm: Slurm, tmp_path: Path, answer: str) -> None:
    real = shutil.which("sbatch")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(f"#!/bin/sh\nreal={real}\n{answer}\n")
    (folder / "sbatch").chmod(0o755)
    run = on_slurm.run(tmp_path / "here", "echo once >>{out}/count; " + RESULTS)
    run = replace(run, settings={**run.settings, "slurm_bin": str(folder)})
    if "null" in answer:
        with pytest.raises(Unreachable, match="no number"):
            on_slurm.submit(run)
    handle = on_slurm.submit(run)
    assert handle.native_id.isdigit()
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    assert (there(run) / "artifacts" / "count").read_text() == "once\n"
