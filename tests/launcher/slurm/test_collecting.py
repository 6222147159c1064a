"""What a harness may leave on a cluster comes to the launching machine, whatever it is called."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from launched import RESULTS, Place, ended, here, supervise, there
from launcher.jobs import State
from launcher.runs.database import Database

LONG = "x" * 255
ODD = b"\xff\n \xfe"


@pytest.mark.parametrize("near", [False, True])
def test_files_of_any_name_are_collected(
    on_slurm: Place, tmp_path: Path, database: Database, near: bool
) -> None:
    place = replace(on_slurm, settings={**on_slurm.settings, "hostname": None}) if near else on_slurm
    run = place.run(
        tmp_path / "here",
        f"cd {{out}}; touch \"$(printf '\\377\\n \\376')\"; echo 1 >{LONG}; echo 2 >batch_sizes; "
        f"mkdir -- -rf; echo 3 >-rf/end; ln -s {tmp_path} out; ln -s /etc/passwd password; {RESULTS}",
    )
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.SUCCEEDED
    artifacts = os.fsencode(here(run) / "artifacts")
    found = set(os.listdir(artifacts))  # noqa: PTH208 # as bytes
    assert found == {ODD, LONG.encode(), b"batch_sizes", b"-rf", b"results.yml", b"run_config.yml"}
    assert (here(run) / "artifacts" / "-rf" / "end").read_text() == "3\n"


def test_what_an_earlier_attempt_left_makes_way(on_slurm: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = on_slurm.run(
        tmp_path / "here", f"cd {{out}}; mkdir a b; echo 1 >a/f; echo 2 >b/f; echo 3 >c; {RESULTS}"
    )
    handle = on_slurm.submit(run)
    assert ended(on_slurm, handle).state is State.SUCCEEDED
    artifacts = here(run) / "artifacts"
    (artifacts / "c" / "d").mkdir(parents=True)
    (artifacts / "a").write_text("a file")
    (artifacts / "b").symlink_to(elsewhere)
    on_slurm.collect(run, handle)
    assert [(artifacts / name).read_text() for name in ("a/f", "b/f", "c")] == ["1\n", "2\n", "3\n"]
    assert not list(elsewhere.iterdir())


def test_a_folder_that_was_listed_in_part_is_not_taken_for_whole(
    on_slurm: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = on_slurm.run(tmp_path / "here", RESULTS)
    run = replace(run, settings={**run.settings, "hostname": None})
    # Listing is what needs it, on a head node where all memory is taken.
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "find").write_text("#!/bin/sh\nkill -KILL $PPID\n")
    (folder / "find").chmod(0o755)
    database.record(run)
    with monkeypatch.context() as full:
        full.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        place = replace(on_slurm, settings=run.settings)
        handle = place.submit(run)
        assert ended(place, handle).state is State.SUCCEEDED
        with pytest.raises(Exception, match="only in part"):
            place.collect(run, handle)
    (row,) = supervise(database, run)
    assert row.state is State.SUCCEEDED
    assert (there(run) / "artifacts" / "results.yml").exists()
