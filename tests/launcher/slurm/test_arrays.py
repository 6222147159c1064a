"""Jobs of a run as the tasks of one array of a real Slurm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from launched import RESULTS, Place, states, status, supervise, there, until, wait_for
from launcher.jobs import JobHandle, RunPlan, SecretName, State
from launcher.runs.database import Database, JobRow
from launcher.runs.supervisor import request_stop, resume, tick
from services.slurm import Slurm

WAIT = "touch {out}/ready; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS
# Its first start goes on until it is ended from outside.
TWICE = (
    "echo start >>{out}/starts; touch {out}/ready; "
    "if [ $(wc -l <{out}/starts) -lt 2 ]; then while :; do sleep 0.1; done; fi; " + RESULTS
)


def begun(database: Database, run: RunPlan) -> list[JobRow]:
    database.record(run)
    return tick(database, run.run_id, {})


def artifacts(run: RunPlan, index: int) -> Path:
    return there(run, index) / "artifacts"


def ready(run: RunPlan, *indexes: int) -> None:
    for index in indexes:
        wait_for(artifacts(run, index) / "ready")


def handles(run: RunPlan, rows: Sequence[JobRow]) -> list[JobHandle]:
    return [replace(handle, settings=run.settings) for row in rows if (handle := row.handle("slurm"))]


def listed(slurm: Slurm, array: str) -> dict[str, str]:
    """Each task's state in the queue."""
    shown = slurm.run("squeue", "-h", "-r", "-j", array, "-o", "%i %T").split()
    return dict(zip(shown[::2], shown[1::2], strict=True))


def test_a_run_is_one_array_and_each_task_its_own_job(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *["touch {out}/ran; " + RESULTS] * 3, "exit 3", parallel=4)
    rows = begun(database, run)
    array = str(rows[0].native_id).partition("_")[0]
    assert [row.native_id for row in rows] == [f"{array}_{index}" for index in range(4)]
    shown = slurm.run("squeue", "-h", "-r", "-j", array, "-o", "%j").split()
    assert set(shown) == {f"evaldock-{run.run_id}-1"}
    rows = supervise(database, run)
    assert states(rows) == [State.SUCCEEDED] * 3 + [State.FAILED]
    assert rows[3].exit_code == 3
    for job in run.jobs:
        assert (Path(run.directory) / job.directory / "exit.json").exists()
        assert (Path(run.directory) / job.directory / "logs" / "slurm.log").exists()


def test_a_dry_run_shows_an_array_once(on_slurm: Place, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 3, parallel=2)
    after = replace(run.jobs[2], depends_on=(run.jobs[0].key,))
    run = replace(run, jobs=(*run.jobs[:2], after))
    plans = [on_slurm.backend.plan(run, job) for job in run.jobs]
    name = f"../../.slurm/evaldock-{run.run_id}-1.sub"
    assert [plan["array"] for plan in plans] == ["0-1", "0-1", None]
    assert [name in plan["files"] for plan in plans] == [True, True, False]
    shown = [[name for name, text in plan["scripts"].items() if "#SBATCH" in text] for plan in plans]
    assert shown == [[name], [], ["slurm.sub"]]
    assert "#SBATCH --array=0-1\n" in plans[0]["scripts"][name]


def test_no_more_tasks_run_at_once_than_the_run_allows(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[WAIT] * 3, parallel=1)
    rows = begun(database, run)
    array = str(rows[0].native_id).partition("_")[0]
    for index in range(3):
        ready(run, index)
        now = listed(slurm, array)
        assert [name for name, state in now.items() if state == "RUNNING"] == [f"{array}_{index}"]
        rows = tick(database, run.run_id, {})
        assert [row.state for row in rows[index + 1 :]] == [State.QUEUED] * (2 - index)
        (artifacts(run, index) / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 3


def test_with_a_limit_for_waiting_only_what_may_run_is_handed_over(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[WAIT] * 4, parallel=2, queue_timeout=3600.0)
    shown = [on_slurm.backend.plan(run, job)["array"] for job in run.jobs]
    assert shown == ["0-1", "0-1", None, None]
    rows = begun(database, run)
    assert [row.native_id is not None for row in rows] == [True, True, False, False]
    for index in range(4):
        artifacts(run, index).mkdir(parents=True, exist_ok=True)
        (artifacts(run, index) / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 4


def test_jobs_that_differ_go_alone(on_slurm: Place, tmp_path: Path, database: Database) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 3, parallel=3)
    far = replace(run.jobs[2], index=5000)
    rows = begun(database, replace(run, jobs=(*run.jobs[:2], far)))
    assert ["_" in str(row.native_id) for row in rows] == [True, True, False]
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 3
    off = replace(on_slurm.run(tmp_path / "off", *[RESULTS] * 2, parallel=2))
    off = replace(off, settings={**off.settings, "array": False})
    assert not [row for row in begun(database, off) if "_" in str(row.native_id)]
    assert states(supervise(database, off)) == [State.SUCCEEDED] * 2


@pytest.mark.parametrize("index", [0, 1])
def test_a_task_that_is_queued_again_takes_no_other_along(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database, index: int
) -> None:
    # The last one has the number of the whole array.
    run = on_slurm.run(tmp_path / "here", TWICE, TWICE, parallel=2)
    rows = begun(database, run)
    ready(run, 0, 1)
    slurm.run("scontrol", "requeue", str(rows[index].native_id))
    until(lambda: len((artifacts(run, index) / "starts").read_text().split()) == 2, "it starts again")
    assert (artifacts(run, 1 - index) / "starts").read_text() == "start\n"
    slurm.run("scontrol", "requeue", str(rows[1 - index].native_id))
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2


@pytest.mark.parametrize("index", [0, 1])
def test_a_task_whose_time_is_up_queues_itself_again(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database, index: int
) -> None:
    commands = [WAIT, WAIT]
    commands[index] = TWICE
    run = on_slurm.run(tmp_path / "here", *commands, parallel=2)
    rows = begun(database, run)
    ready(run, 0, 1)
    # What Slurm does before the end of a walltime, which it counts in minutes.
    slurm.run("scancel", "--batch", "--signal=USR1", str(rows[index].native_id))
    until(lambda: len((artifacts(run, index) / "starts").read_text().split()) == 2, "it starts again")
    assert (there(run, index) / "logs" / "job.log").read_text().count("started again by Slurm") == 1
    assert "started again" not in (there(run, 1 - index) / "logs" / "job.log").read_text()
    (artifacts(run, 1 - index) / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 2


def test_tasks_that_lose_their_place_go_on(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", TWICE, TWICE, parallel=2)
    cpus = {"partition": "scavenge", "cpus_per_task": 4}
    run = replace(run, settings={**run.settings, **cpus})
    rows = begun(database, run)
    ready(run, 0, 1)
    wanted = ["sbatch", "--parsable", "--partition=high", "--cpus-per-task=8", "--output=/dev/null"]
    other = slurm.run(*wanted, "--wrap=sleep 3").strip()
    until(
        lambda: set(listed(slurm, str(rows[0].native_id).partition("_")[0]).values()) == {"PENDING"},
        "they have lost their place",
    )
    rows = supervise(database, run)
    assert states(rows) == [State.SUCCEEDED] * 2
    assert {row.attempt for row in rows} == {1}
    assert slurm.run("sacct", "-X", "-n", "-P", "-j", other, "-o", "State").strip() == "COMPLETED"


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_stopped_task_stops_alone(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database, index: int
) -> None:
    run = on_slurm.run(tmp_path / "here", *[WAIT] * 3, parallel=2)
    rows = begun(database, run)
    ready(run, 0, 1)
    handle = handles(run, rows)[index]
    on_slurm.backend.cancel(handle)
    until(lambda: status(on_slurm, handle).state is State.CANCELLED, "it is stopped")
    others = [each for each in handles(run, rows) if each != handle]
    assert not [each for each in on_slurm.backend.status(others).values() if each.state.terminal]
    for other in (0, 1, 2):
        artifacts(run, other).mkdir(parents=True, exist_ok=True)
        (artifacts(run, other) / "go").touch()
    rows = supervise(database, run)
    assert [row.state is State.SUCCEEDED for row in rows] == [other != index for other in range(3)]


def test_a_whole_array_that_is_stopped_while_it_waits(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 3, parallel=3)
    run = replace(run, settings={**run.settings, "sbatch_args": ["--begin=now+1hour"]})
    rows = begun(database, run)
    assert {row.state for row in tick(database, run.run_id, {})} == {State.QUEUED}
    # Accounting tells of such tasks in one line for all.
    slurm.run("scancel", str(rows[0].native_id).partition("_")[0])
    rows = supervise(database, run)
    assert states(rows) == [State.FAILED] * 3
    assert {row.reason for row in rows} == {"stopped from outside"}
    # Another attempt is another array; a name can't mean both.
    assert len(resume(database, run.run_id)) == 3
    rows = tick(database, run.run_id, {})
    assert {row.attempt for row in rows} == {2}
    request_stop(database, run.run_id)
    assert states(supervise(database, run)) == [State.CANCELLED] * 3


def test_an_array_that_arrived_before_a_crash_is_found(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *["echo once >>{out}/count; " + WAIT] * 2, parallel=2)
    first = handles(run, begun(database, run))
    ready(run, 0, 1)
    numbers = [Path(str(run.remote)) / ".slurm" / f"evaldock-{each.key}-1.id" for each in first]
    for path in numbers:
        path.unlink()
    unsure = [replace(each, native_id="") for each in first]
    assert {said.state for said in on_slurm.backend.status(unsure).values()} == {State.RUNNING}
    # Whether they come alone or together.
    assert on_slurm.backend.submit(run, run.jobs[1], 1, {}) == first[1]
    numbers[1].unlink()
    again = on_slurm.backend.submit_together(  # type: ignore[attr-defined]
        run, run.jobs, 1, {job.key: {} for job in run.jobs}, at_once=2
    )
    assert list(again.values()) == first
    # A job of which only the name is known is stopped by it.
    numbers[0].unlink()
    on_slurm.backend.cancel(unsure[0])
    until(lambda: status(on_slurm, first[0]).state is State.CANCELLED, "it is stopped")
    assert status(on_slurm, first[1]).state is State.RUNNING
    (artifacts(run, 1) / "go").touch()
    until(lambda: status(on_slurm, first[1]).state is State.SUCCEEDED, "the other one ends")
    assert [(artifacts(run, index) / "count").read_text() for index in (0, 1)] == ["once\n"] * 2


def test_a_launcher_that_dies_in_between_gets_the_rest_there(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *["echo once >>{out}/count; " + RESULTS] * 3, parallel=3)
    one = on_slurm.backend.submit(run, run.jobs[1], 1, {})
    database.record(run)
    rows = supervise(database, run)
    assert states(rows) == [State.SUCCEEDED] * 3
    assert rows[1].native_id == one.native_id
    assert [(artifacts(run, index) / "count").read_text() for index in range(3)] == ["once\n"] * 3


def test_jobs_behind_the_tasks_of_an_array(
    on_slurm: Place, slurm: Slurm, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", WAIT, WAIT, *[RESULTS] * 3, parallel=5)
    first, second = (job.key for job in run.jobs[:2])
    behind = [replace(job, depends_on=(first, second)) for job in run.jobs[2:4]]
    alone = replace(run.jobs[4], depends_on=(first,))
    rows = begun(database, replace(run, jobs=(*run.jobs[:2], *behind, alone)))
    arrays = [str(row.native_id).partition("_")[0] for row in rows]
    assert arrays[0] == arrays[1] != arrays[2] == arrays[3]
    assert len({arrays[0], arrays[2], arrays[4]}) == 3
    ready(run, 0, 1)
    (artifacts(run, 0) / "go").touch()
    until(lambda: tick(database, run.run_id, {})[4].state is State.SUCCEEDED, "what needs only the first")
    assert {row.state for row in tick(database, run.run_id, {})[2:4]} == {State.QUEUED}
    (artifacts(run, 1) / "go").touch()
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 5


def test_secrets_of_tasks_are_each_its_own(on_slurm: Place, slurm: Slurm, tmp_path: Path) -> None:
    run = on_slurm.run(tmp_path / "here", *['printf %s "$KEY" >{out}/key; ' + WAIT] * 2, parallel=2)
    jobs = [replace(job, secrets=(SecretName(name="KEY", source=f"K{job.index}"),)) for job in run.jobs]
    found = on_slurm.backend.submit_together(  # type: ignore[attr-defined]
        run, jobs, 1, {job.key: {f"K{job.index}": f"value-{job.index}"} for job in jobs}, at_once=2
    )
    ready(run, 0, 1)
    assert [(artifacts(run, index) / "key").read_text() for index in (0, 1)] == ["value-0", "value-1"]
    shown = slurm.run("scontrol", "show", "job", next(iter(found.values())).native_id)
    assert "value-" not in shown
    for index, handle in enumerate(found.values()):
        (artifacts(run, index) / "go").touch()
        until(lambda handle=handle: status(on_slurm, handle).state is State.SUCCEEDED, "it ends")  # type: ignore[misc]
    assert not [*Path(str(run.remote)).rglob(".secrets*")]


# An sbatch that counts its calls, and refuses arrays of more than two tasks, or all of them.
_SBATCH = """\
#!/bin/sh
for file in "$@"; do :; done
echo "$file" >>{calls}
tasks=$(sed -n 's/^#SBATCH --array=\\([0-9,-]*\\).*/\\1/p' "$file")
case $tasks in
{refused}) echo "sbatch: error: {said}" >&2; exit 1 ;;
esac
PATH=${{PATH#*:}} exec sbatch "$@"
"""


def limited(run: RunPlan, folder: Path, refused: str, said: str) -> tuple[RunPlan, Path]:
    folder.mkdir()
    command, calls = folder / "sbatch", folder / "calls"
    command.write_text(_SBATCH.format(calls=calls, refused=refused, said=said))
    command.chmod(0o755)
    return replace(run, settings={**run.settings, "slurm_bin": str(folder)}), calls


NO_ROOM = "AssocMaxSubmitJobLimit"
NO_ARRAYS = "Batch job submission failed: Invalid job array specification"


def test_an_array_that_is_too_large_goes_in_parts(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 5, parallel=5)
    run, calls = limited(run, tmp_path / "bin", "0-4 | 2-4", NO_ROOM)
    rows = begun(database, run)
    numbers = [str(row.native_id) for row in rows]
    arrays = [number.partition("_")[0] for number in numbers]
    assert arrays[0] == arrays[1]
    assert "_" not in numbers[2]
    assert arrays[3] == arrays[4] != arrays[0]
    assert len(calls.read_text().split()) == 5
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 5


def test_parts_of_an_array_keep_to_what_may_run_at_once(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 4, parallel=2)
    run, _ = limited(run, tmp_path / "bin", "0-3", NO_ROOM)
    rows = begun(database, run)
    assert [row.native_id is not None for row in rows] == [True, True, False, False]
    assert NO_ROOM in str(rows[2].reason)
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 4


def test_where_there_is_no_room_for_even_one_job_it_waits(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 4, parallel=4)
    full, calls = limited(run, tmp_path / "bin", "*", NO_ROOM)
    rows = begun(database, full)
    assert states(rows) == [State.PLANNED] * 4
    assert {"Slurm takes no more jobs" in str(row.reason) for row in rows} == {True}
    # The array, its half, and one job.
    assert len(calls.read_text().split()) == 3
    (tmp_path / "bin" / "sbatch").unlink()
    assert states(supervise(database, full)) == [State.SUCCEEDED] * 4


def test_where_arrays_are_refused_jobs_go_one_by_one(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 3, parallel=2)
    run, _ = limited(run, tmp_path / "bin", "*-*", NO_ARRAYS)
    rows = begun(database, run)
    assert ["_" in str(row.native_id) for row in rows[:2]] == [False, False]
    assert rows[2].native_id is None
    assert states(supervise(database, run)) == [State.SUCCEEDED] * 3


def test_what_is_wrong_with_every_task_is_asked_once_more_only(
    on_slurm: Place, tmp_path: Path, database: Database
) -> None:
    run = on_slurm.run(tmp_path / "here", *[RESULTS] * 4, parallel=4)
    run = replace(run, settings={**run.settings, "partition": "nowhere"})
    run, calls = limited(run, tmp_path / "bin", "never", "")
    rows = begun(database, run)
    assert states(rows) == [State.FAILED] * 4
    assert {"invalid partition" in str(row.reason) for row in rows} == {True}
    assert len(calls.read_text().split()) == 2
