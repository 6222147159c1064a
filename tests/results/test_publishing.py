"""Publishing with real git: many at once, lost races, and names that two runs claim."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import NotFound, Refused, Unreachable
from catalog.record_files import load_all
from catalog.records import Metric, Record
from git_commands import git
from launcher.results import publishing
from launcher.results.publishing import publish

RECORD = Record(
    harness="h",
    task="t",
    model="m",
    run="r",
    task_sha="s",
    params_sha="p",
    metrics=(Metric(name="accuracy", value=0.5),),
    endpoint_type="chat",
)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository whose main branch holds a catalog."""
    for name, value in (("NAME", "tester"), ("EMAIL", "tester@example.invalid")):
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    bare = tmp_path / "upstream.git"
    git(bare.parent, "init", "--quiet", "--bare", bare.name)
    first = clone(bare, tmp_path / "first")
    (first / "mapping.toml").write_text("")
    git(first, "add", ".")
    git(first, "commit", "--quiet", "-m", "A catalog")
    git(first, "push", "--quiet", "-u", "origin", "HEAD:main")
    return bare


def clone(bare: Path, folder: Path) -> Path:
    git(folder.parent, "clone", "--quiet", str(bare), folder.name)
    return folder


def test_written_committed_and_pushed(upstream: Path, tmp_path: Path) -> None:
    work = clone(upstream, tmp_path / "work")
    done = publish(work, [(RECORD, {"a": 1.0})], push=True)
    assert done.files == ("results/h/t/m/r.samples.json", "results/h/t/m/r.json")
    assert git(work, "log", "--format=%s", "-1") == "Publish h.t for m"
    assert git(upstream, "rev-parse", "main") == done.commit
    again = publish(work, [(RECORD, {"a": 1.0})], push=True)
    assert (again.files, again.commit) == ((), None)


def test_other_changes_stay_out_of_the_commit(upstream: Path, tmp_path: Path) -> None:
    work = clone(upstream, tmp_path / "work")
    (work / "mapping.toml").write_text("# somebody is editing this\n")
    (work / "staged.txt").write_text("x")
    git(work, "add", "staged.txt")
    publish(work, [(RECORD, {})], commit=True)
    assert git(work, "show", "--name-only", "--format=", "HEAD").split() == ["results/h/t/m/r.json"]
    assert "mapping.toml" in git(work, "status", "--porcelain")


def test_a_hundred_publishers_at_once_lose_nothing(upstream: Path, tmp_path: Path) -> None:
    """Five clones, each publishing twenty times, all pushing to one branch."""
    clones = [clone(upstream, tmp_path / f"clone{n}") for n in range(5)]

    def twenty(number: int) -> None:
        for turn in range(20):
            record = replace(RECORD, run=f"run-{number}-{turn}")
            publish(clones[number], [(record, {})], push=True)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(twenty, range(5)))
    last = clone(upstream, tmp_path / "last")
    published, problems = load_all(last)
    assert problems == []
    assert len(published) == 100
    assert len(git(last, "log", "--format=%H").split()) == 101


def test_processes_publish_into_one_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text("")
    script = (
        "import sys; from dataclasses import replace; from pathlib import Path; "
        "sys.path[:0] = sys.argv[1:3]; from test_publishing import RECORD; "
        "from launcher.results.publishing import publish\n"
        "for n in range(20): publish(Path(sys.argv[3]), [(replace(RECORD, run=f'{sys.argv[4]}-{n}'), {})])"
    )
    folders = (Path(__file__).parent, Path(__file__).parents[1], tmp_path)
    command = [sys.executable, "-c", script, *map(str, folders)]
    running = [subprocess.Popen([*command, str(n)]) for n in range(5)]
    assert [process.wait(120) for process in running] == [0] * 5
    assert len(load_all(tmp_path)[0]) == 100


def test_the_same_name_for_another_result_is_refused(upstream: Path, tmp_path: Path) -> None:
    one, two = clone(upstream, tmp_path / "one"), clone(upstream, tmp_path / "two")
    publish(one, [(RECORD, {})], push=True)
    other = replace(RECORD, metrics=(Metric(name="accuracy", value=0.9),))
    with pytest.raises(Refused, match="another result"):
        publish(two, [(other, {})], push=True)
    assert "rebase" not in git(two, "status")
    assert load_all(clone(upstream, tmp_path / "check"))[0][0].record == RECORD


def test_a_push_that_can_not_work_keeps_the_commit(upstream: Path, tmp_path: Path) -> None:
    work = clone(upstream, tmp_path / "work")
    upstream.rename(tmp_path / "gone.git")
    with pytest.raises(Unreachable, match="git push failed"):
        publish(work, [(RECORD, {})], push=True)
    assert git(work, "log", "--format=%s", "-1") == "Publish h.t for m"
    (tmp_path / "gone.git").rename(upstream)
    publish(work, [(RECORD, {})], push=True)
    assert len(load_all(clone(upstream, tmp_path / "check"))[0]) == 1


def test_a_push_that_hangs_is_told(upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = clone(upstream, tmp_path / "mine")
    hook = mine / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    # The hook is a process of git's, which goes on when git is ended.
    hook.write_text("#!/bin/sh\nexec >/dev/null 2>&1\nsleep 8\n")
    hook.chmod(0o755)
    monkeypatch.setattr(publishing, "TIMEOUT", 2)
    with pytest.raises(Unreachable, match="git push took longer than 2 seconds"):
        publish(mine, [(RECORD, {})], push=True)


def test_a_folder_that_is_no_catalog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no catalog to publish to"):
        publish(tmp_path, [(RECORD, {})])


def test_odd_names_reach_git_as_names(upstream: Path, tmp_path: Path) -> None:
    work = clone(upstream, tmp_path / "work")
    odd = replace(RECORD, model="--exec=touch pwned; $(x)\n`y`", run="-r")
    publish(work, [(odd, {})], push=True)
    assert load_all(clone(upstream, tmp_path / "check"))[0][0].record == odd
    assert not list(tmp_path.rglob("pwned"))
