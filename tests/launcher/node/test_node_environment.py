"""One environment for all jobs of a cluster, also where its file system knows no locks; nodes that differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launched import until

# The node's program with quicker beats, on a file system that refuses to lock; its builds are only counted.
_PROGRAM = """
import errno, fcntl, platform, sys, time
from pathlib import Path
from launcher.node import environment

def flock(*_):
    raise OSError(getattr(errno, error), error)

def build(target, code, packages):
    with open(count, "a") as file:
        file.write("built\\n")
    time.sleep(2)
    target.mkdir()
    environment.keep(target, "pip==1\\n")

error, count, machine = sys.argv[1:4]
fcntl.flock, environment.build = flock, build
environment.BEAT, environment.DEAD = 0.2, 4.0
platform.machine = lambda: machine
sys.argv[1:4] = []
environment.main()
"""


def start(folder: Path, name: str, error: str = "ENOSYS", machine: str = "x86_64") -> subprocess.Popen[str]:
    own = folder / name
    own.mkdir()
    words = [error, str(folder / "count"), machine, str(folder / "environments"), "", "digest", "package"]
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *words], cwd=own, stderr=subprocess.PIPE, text=True
    )


def said(job: subprocess.Popen[str]) -> tuple[str, int]:
    """What it printed, and its exit code."""
    return job.communicate(timeout=60)[1], job.returncode


def environment(folder: Path, name: str) -> str:
    return (folder / name / "environment").read_text().strip()


@pytest.mark.parametrize("error", ["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_without_locks_one_builds_and_the_others_wait(tmp_path: Path, error: str) -> None:
    jobs = [start(tmp_path, name, error) for name in "abc"]
    assert [said(job) for job in jobs] == [("", 0)] * 3
    assert (tmp_path / "count").read_text() == "built\n"
    assert len({environment(tmp_path, name) for name in "abc"}) == 1
    assert not list((tmp_path / "environments").glob("*.building"))


def test_who_died_while_building_is_waited_for_no_longer(tmp_path: Path) -> None:
    dead = start(tmp_path, "dead")
    count = tmp_path / "count"
    until(lambda: count.exists() and count.read_text(), "it builds")
    dead.kill()
    dead.communicate()
    assert said(start(tmp_path, "next")) == ("", 0)
    assert count.read_text() == "built\n" * 2


def test_another_trouble_with_the_lock_is_said(tmp_path: Path) -> None:
    words, code = said(start(tmp_path, "a", "EIO"))
    assert ("OSError" in words, code) == (True, 1)


def test_machines_of_two_kinds_have_one_each(tmp_path: Path) -> None:
    jobs = [start(tmp_path, machine, machine=machine) for machine in ("x86_64", "aarch64")]
    assert [said(job) for job in jobs] == [("", 0)] * 2
    assert environment(tmp_path, "x86_64") != environment(tmp_path, "aarch64")
