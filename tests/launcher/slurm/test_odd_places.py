"""Arrays in folders with odd names, and from a machine that has never heard of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launched import RESULTS, Place, status, supervise, there, until, wait_for
from launcher.jobs import SecretName, State
from launcher.runs import handle
from launcher.runs.database import Database
from launcher.runs.supervisor import tick

ODD = "-clu ster é'q\"$HOME`x`;&*"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "elsewhere" / "runs.db")
    yield opened
    opened.close()


def test_tasks_are_adopted_and_stopped_one_by_one(
    on_slurm: Place, tmp_path: Path, database: Database, elsewhere: Database
) -> None:
    root = tmp_path / ODD
    root.mkdir()
    place = replace(on_slurm, remote=str(root))
    results = RESULTS.replace("{out}", '"$OUT"')
    run = place.run(tmp_path / "here it is", *["true"] * 4, parallel=2)
    jobs = tuple(
        replace(
            job,
            command='OUT="$PWD/artifacts"; printf %s "$KEY" >"$OUT/key"; touch "$OUT/ready"; '
            f'until [ -e "$OUT/go" ]; do sleep 0.1; done; {results}',
            secrets=(SecretName(name="KEY", source="K"),),
        )
        for job in run.jobs
    )
    run = replace(run, jobs=jobs)
    database.record(run)
    began = tick(database, run.run_id, {"K": "k"})
    assert {"_" in str(row.native_id) for row in began} == {True}
    for index in (0, 1):
        wait_for(there(run, index) / "artifacts" / "ready")
    adopted = handle.adopt(elsewhere, Path(run.directory))
    rows = tick(elsewhere, run.run_id, {})
    assert [row.native_id for row in rows] == [row.native_id for row in began]
    assert {row.state for row in rows[2:]} == {State.QUEUED}
    waiting = rows[2].handle("slurm")
    assert waiting is not None
    waiting = replace(waiting, settings=adopted.settings)
    place.backend.cancel(waiting)
    until(lambda: status(place, waiting).state is State.CANCELLED, "it is stopped")
    assert not list(there(run, 2).rglob(".secrets*"))
    for index in (0, 1, 3):
        (there(run, index) / "artifacts").mkdir(exist_ok=True)
        (there(run, index) / "artifacts" / "go").touch()
    ended = supervise(elsewhere, run)
    assert [row.state for row in ended] == [
        State.SUCCEEDED,
        State.SUCCEEDED,
        State.FAILED,
        State.SUCCEEDED,
    ]
    assert ended[2].reason == "stopped from outside"
    assert (Path(run.directory) / run.jobs[3].directory / "artifacts" / "key").read_text() == "k"
