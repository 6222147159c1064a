"""What holds for a backend whose jobs run elsewhere: the other side learns nothing of this machine, and needs
none of its files; any machine that has the run's handle can go on with it."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

from job_places import on
from launched import RESULTS, Place, artifacts, ended, here, states, status, supervise, there, until, wait_for
from launcher.jobs import State
from launcher.runs import handle as run_handle
from launcher.runs import run_id
from launcher.runs.database import Database
from launcher.runs.supervisor import tick
from planned_runs import plan

ROOT = Path(__file__).parents[3]
pytestmark = on(far=True)
HELD = "echo once >>{out}/count; until [ -e {out}/go ]; do sleep 0.1; done; " + RESULTS


def test_a_new_machine_goes_on_with_a_run_by_its_handle(
    place: Place, tmp_path: Path, database: Database
) -> None:
    run = place.run(tmp_path, HELD, RESULTS)
    database.record(run)
    tick(database, run.run_id, {})
    wait_for(there(run) / "artifacts" / "count")
    tick(database, run.run_id, {})
    folder = tmp_path / "new machine" / run.run_id
    folder.mkdir(parents=True)
    shutil.copy(Path(run.directory) / "run.json", folder)
    # Nothing of the machine that started it is there any more.
    shutil.rmtree(run.directory)
    other = Database(tmp_path / "new machine" / "state" / "runs.db")
    try:
        adopted = run_handle.adopt(other, folder)
        first, second = states(tick(other, run.run_id, {}))
        assert first is State.RUNNING
        assert second in (State.PLANNED, State.QUEUED)
        (there(run) / "artifacts" / "go").touch()
        rows = supervise(other, adopted)
    finally:
        other.close()
    assert [(row.state, row.reason, row.attempt) for row in rows] == [(State.SUCCEEDED, None, 1)] * 2
    for job in run.jobs:
        assert (folder / job.directory / "artifacts" / "results.yml").exists()
        assert json.loads((folder / job.directory / "exit.json").read_bytes())["exit_code"] == 0
    assert (folder / run.jobs[0].directory / "artifacts" / "count").read_text() == "once\n"
    assert not Path(run.directory).exists()


def test_the_other_side_learns_no_path_of_this_machine(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, HELD)
    handle = place.submit(run)
    wait_for(artifacts(handle) / "count")
    said = {"native": place.native(handle), "plan": json.dumps(place.backend.plan(run, run.jobs[0]))}
    for path in there(run).rglob("*"):
        if path.is_file():
            said[path.name] = path.read_bytes().decode("utf-8", "replace")
    (artifacts(handle) / "go").touch()
    assert ended(place, handle).state is State.SUCCEEDED
    place.collect(run, handle)
    evaluation = plan(
        {
            "execution": place.configuration(),
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 1}}]},
        },
        directory=tmp_path / "evaluated",
        identity=run_id.new(),
        keep=True,
    )
    said["evaluation"] = json.dumps(place.backend.plan(evaluation, evaluation.jobs[0]))
    for archive in (tmp_path / "evaluated").rglob("*.tar.gz"):
        said["archive"] = gzip.decompress(archive.read_bytes()).decode("latin-1")
    assert len(said) >= 5
    for name, text in said.items():
        for private in (run.directory, evaluation.directory, str(ROOT), sys.prefix, str(Path.home() / ".")):
            assert f"{private}/" not in text, name


def test_a_collection_that_was_cut_off_goes_on(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "head -c 300000 /dev/zero >{out}/large; echo done; " + RESULTS)
    handle = place.submit(run)
    assert ended(place, handle).state is State.SUCCEEDED
    place.collect(run, handle)
    folder = here(run)
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(whole[folder / "artifacts" / "large"]) == 300000
    # As a copy that was cut off, or a disk that lost its end, leaves them.
    (folder / "artifacts" / "large").write_bytes(b"\0" * 1000)
    (folder / "artifacts" / "results.yml").unlink()
    # What a backend writes last, when all has come.
    for complete in folder.glob("*collected*"):
        complete.unlink()
    place.collect(run, handle)
    assert until(lambda: status(place, handle).state is State.SUCCEEDED)
    for name in ("artifacts/large", "artifacts/results.yml", "exit.json", "logs/job.log"):
        assert (folder / name).read_bytes() == whole[folder / name], name
