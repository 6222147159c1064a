"""Handles of runs on a branch: kept before anything starts, held by one at a time, closed once."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.github.branches import Branch
from git_commands import git
from launched import Place
from launcher.plans.plan_files import plan_to_data
from launcher.runs import open_runs
from launcher.runs.open_runs import Kept
from launcher.runs.run_directory import write_json

KEPT = Kept(catalog="catalog", publish="commit", branch="main", origin={"GITHUB_RUN_ID": "7"})


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    git(tmp_path, "init", "--quiet", "--bare", "upstream.git")
    git(tmp_path, "clone", "--quiet", "upstream.git", "clone")
    return Branch(clone=tmp_path / "clone", name=open_runs.BRANCH, history=False)


def handle(folder: Path) -> tuple[str, Path]:
    plan = Place("process").run(folder, "true")
    path = folder / f"{plan.run_id}.json"
    write_json(path, {"version": 1, "created": 1000.0, "plan": plan_to_data(plan), "jobs": {}})
    return plan.run_id, path


def kept(branch: Branch, folder: Path, count: int = 1) -> list[str]:
    made = [handle(folder) for _ in range(count)]
    for run_id, path in made:
        open_runs.keep(branch, run_id, path, KEPT)
    return sorted(run_id for run_id, _ in made)


def test_a_kept_run_is_found_as_it_was(branch: Branch, tmp_path: Path) -> None:
    (run_id,) = kept(branch, tmp_path)
    ((found,), problems) = open_runs.read(branch)
    assert (found.run_id, found.kept, found.created, problems) == (run_id, KEPT, 1000.0, [])
    written = found.write(tmp_path / "again")
    assert json.loads(written.read_bytes()) == json.loads((tmp_path / f"{run_id}.json").read_bytes())
    assert written.stat().st_mode & 0o777 == 0o600


def test_what_one_holds_another_does_not_get(branch: Branch, tmp_path: Path) -> None:
    ids = kept(branch, tmp_path, 2)
    mine, _ = open_runs.hold(branch, "one", 60)
    assert [run.run_id for run in mine] == ids
    assert open_runs.hold(branch, "two", 60) == ([], [])
    again, _ = open_runs.hold(branch, "one", 60)
    assert [run.run_id for run in again] == ids


def test_who_vanished_holds_nothing_for_long(branch: Branch, tmp_path: Path) -> None:
    ids = kept(branch, tmp_path)
    open_runs.hold(branch, "vanished", -1)
    mine, _ = open_runs.hold(branch, "other", 60)
    assert [run.run_id for run in mine] == ids


def test_closed_runs_vanish_and_others_are_free_again(branch: Branch, tmp_path: Path) -> None:
    first, second = kept(branch, tmp_path, 2)
    mine, _ = open_runs.hold(branch, "one", 60)
    handles: Mapping[str, Any] = {run.run_id: {**run.handle, "created": 2000.0} for run in mine}
    lost = open_runs.settle(branch, "one", again={second: handles[second]}, closed={first})
    assert lost == set()
    ((left,), _) = open_runs.read(branch)
    assert (left.run_id, left.created, left.kept) == (second, 2000.0, KEPT)
    assert open_runs.settle(branch, "one", again={}, closed={first}) == set()


def test_what_was_taken_over_is_left_to_its_new_holder(branch: Branch, tmp_path: Path) -> None:
    (run_id,) = kept(branch, tmp_path)
    open_runs.hold(branch, "slow", -1)
    open_runs.hold(branch, "other", 60)
    assert open_runs.settle(branch, "slow", again={}, closed={run_id}) == {run_id}
    ((left,), _) = open_runs.read(branch)
    assert left.kept.holder == "other"


def test_of_several_at_once_each_run_has_one_holder(branch: Branch, tmp_path: Path) -> None:
    ids = kept(branch, tmp_path, 5)
    script = (
        "import sys; from pathlib import Path\n"
        "from launcher.runs import open_runs; from catalog.github.branches import Branch\n"
        "branch = Branch(clone=Path(sys.argv[1]), name=open_runs.BRANCH, history=False)\n"
        "print(*[run.run_id for run in open_runs.hold(branch, sys.argv[2], 60)[0]])\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(branch.clone), str(n)], stdout=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    taken = [process.communicate(timeout=120)[0].split() for process in running]
    assert sorted(run_id for each in taken for run_id in each) == ids


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data["plan"]["jobs"][0].update(directory="../../elsewhere"), "a path leads elsewhere"),
        (lambda data: data["plan"]["jobs"][0].update(inputs={"a": "../b"}), "a path leads elsewhere"),
        (lambda data: data["plan"].pop("backend"), "backend"),
        (lambda data: data.pop("jobs"), "jobs"),
        (lambda data: data["kept"].update(catalog="/etc"), "a path leads elsewhere"),
        (lambda data: data["plan"].update(run_id="0" * 16), "another run"),
        (lambda data: data.pop("kept"), "kept"),
        (lambda data: data["kept"].update(more=1), "more"),
    ],
    ids=["path", "input", "backend", "jobs", "catalog", "identity", "bare", "unknown"],
)
def test_what_is_no_handle_is_named_and_left(branch: Branch, tmp_path: Path, spoil: Any, says: str) -> None:
    run_id, path = handle(tmp_path)
    data = {**json.loads(path.read_bytes()), "kept": dataclasses.asdict(KEPT)}
    spoil(data)
    branch.change(lambda _: {f"runs/{run_id}.json": json.dumps(data).encode()}, message="Spoilt")
    mine, problems = open_runs.hold(branch, "one", 60)
    assert mine == []
    assert len(problems) == 1
    assert says in problems[0]


def test_other_files_on_the_branch_stay(branch: Branch, tmp_path: Path) -> None:
    (run_id,) = kept(branch, tmp_path)
    branch.change(lambda _: {"README.md": b"x", "runs/odd name.json": b"{"}, message="More")
    _, problems = open_runs.hold(branch, "one", 60)
    assert problems == ["runs/odd name.json: not a run's handle: the name is not that of a run"]
    open_runs.settle(branch, "one", again={}, closed={run_id})
    assert set(branch.read()) == {"README.md", "runs/odd name.json"}
