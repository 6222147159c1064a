"""`ray.sh` in the shells that nodes have, without Ray: it ends, is asked to stop, or loses its Ray."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from launched import until
from launcher.backends.ray_entry import ALIVE, STOP, entry_script

ENDING = "echo café >>logs/job.log; printf torn >>logs/job.log; exit 3\n"
WAITING = """\
trap 'echo stopped >>logs/job.log; exit 143' TERM
touch ready
while :; do sleep 0.1; done
"""


@pytest.fixture
def tools(shell: list[str], tmp_path: Path) -> Path:
    """A folder in which `sh` is one of the shells."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(shell[0])
    return folder


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "a job's folder"
    folder.mkdir()
    (folder / "ray.sh").write_text(entry_script("evaldock-x-1", str(folder), shipped=False))
    return folder


Started = subprocess.Popen[bytes]
Start = Callable[[str], Started]


@pytest.fixture
def start(job: Path, tools: Path) -> Iterator[Start]:
    """Starts it with a node script, as Ray does: in a session of its own, below another process."""
    started: list[Started] = []

    def begin(node: str) -> Started:
        (job / "node.sh").write_text(node)
        above = 'setsid sh "$1/ray.sh" & echo $! >"$1/driver"; wait $!'
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", above, "sh", str(job)],
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(watcher)
        return watcher

    yield begin
    for watcher in started:
        for pid in [watcher.pid, *_pids(job)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        watcher.communicate()


def _pids(job: Path) -> list[int]:
    """Everybody whose working folder is the job's."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if (entry / "cwd").readlink() == job:
                found.append(int(entry.name))
    return found


def said(driver: Started) -> list[str]:
    return driver.communicate(timeout=60)[0].decode().splitlines()


def test_the_log_and_the_exit_code(job: Path, start: Start) -> None:
    driver = start(ENDING)
    assert said(driver)[1:] == [
        "evaldock: the log of evaldock-x-1:",
        "café",
        "torn",
        "evaldock: ended with exit code 3",
    ]
    assert driver.returncode == 3
    assert not (job / ALIVE).exists()


def test_a_request_to_stop(job: Path, start: Start) -> None:
    driver = start(WAITING)
    until((job / "ready").exists, "the node script runs")
    until((job / ALIVE).exists, "somebody looks after it")
    os.kill(int((job / "driver").read_text()), signal.SIGTERM)
    assert said(driver)[2:] == ["stopped", "", "evaldock: ended with exit code 143"]
    assert driver.returncode == 143


def test_a_request_that_needs_no_ray(job: Path, start: Start) -> None:
    driver = start(WAITING)
    until((job / "ready").exists, "the node script runs")
    (job / STOP).touch()
    assert said(driver)[2:] == ["stopped", "", "evaldock: ended with exit code 143"]


@pytest.mark.parametrize("who", ["ray", "all"])
def test_a_driver_that_ray_leaves_alone_or_takes_along(job: Path, start: Start, who: str) -> None:
    """What killed Ray's own process may have killed the driver, too."""
    driver = start(WAITING)
    until((job / "ready").exists, "the node script runs")
    driver.kill()
    if who == "all":
        os.kill(int((job / "driver").read_text()), signal.SIGKILL)
    until(lambda: not _pids(job), "nothing of it is left")
    assert (job / "logs" / "job.log").read_text() == "stopped\n"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    script = tmp_path / "ray.sh"
    script.write_text(entry_script("evaldock-x-1", str(tmp_path / "gone" / "jobs" / "x"), shipped=False))
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert done.stdout == f"evaldock: {tmp_path}/gone/jobs/x can't be used\n"
