"""Exit codes as docs/reference/exit-codes.md promises them, from the console script itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthetic import make_catalog

EVALDOCK = Path(sys.executable).with_name("evaldock")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(EVALDOCK), *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_catalog(tmp_path / "catalog", harnesses=2, tasks=6)


@pytest.fixture
def silent_registry() -> Iterator[socket.socket]:
    """Accepts connections and never says a word."""
    with socket.socket() as listening:
        listening.settimeout(60)
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield listening


def test_0_when_all_is_well(folder: Path) -> None:
    done = run(folder, "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_1_for_drift(folder: Path) -> None:
    with (folder / "mapping.toml").open("a") as file:
        file.write("# one more thought\n")
    done = run(folder, "check")
    assert done.returncode == 1
    assert "mapping.toml" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [["ls", "tasks", "--no-such"], ["extract", "Upper/Case"], ["extract"], ["nothing-like-it"]]
)
def test_2_for_usage(folder: Path, arguments: list[str]) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_2_for_a_mapping_with_mistakes(folder: Path) -> None:
    (folder / "mapping.toml").write_text("[one]\nplatform = 1\n")
    done = run(folder, "sync")
    assert done.returncode == 2
    assert "one.container: missing" in done.stderr


@pytest.mark.parametrize("arguments", [["show", "no-such-task"], ["extract", "oci:no-such-folder"]])
def test_3_for_what_does_not_exist(folder: Path, arguments: list[str]) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 3
    assert arguments[-1].removeprefix("oci:") in done.stderr


def test_4_for_a_registry_that_is_not_there(folder: Path) -> None:
    done = run(folder, "extract", "127.0.0.1:9/team/name:1.0")  # the discard port: nobody listens
    assert done.returncode == 4
    assert "127.0.0.1:9" in done.stderr


def test_5_for_an_ir_that_was_edited_by_hand(folder: Path) -> None:
    for path in (folder / "ir").iterdir():
        path.write_text(path.read_text() + "# looks better\n")
    done = run(folder, "build", "--output", str(folder / "site"))
    assert done.returncode == 5
    assert "does not verify" in done.stderr
    assert not (folder / "site" / "index.html").exists()


def test_130_for_an_interruption(folder: Path, silent_registry: socket.socket) -> None:
    running = subprocess.Popen(
        [str(EVALDOCK), "extract", f"127.0.0.1:{silent_registry.getsockname()[1]}/team/name:1.0"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    asked, _ = silent_registry.accept()
    os.kill(running.pid, signal.SIGINT)
    _, complaint = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
    asked.close()


# A command that is interrupted in a call which can raise nothing, such as the import system's own.
LOST = """
import time, weakref
from catalog import cli

class Lock:
    pass

def interrupted(_):
    raise KeyboardInterrupt

def command(**_):
    lock = Lock()
    seen = weakref.ref(lock, interrupted)
    del lock
    time.sleep(60)

class Root:
    main = staticmethod(command)

cli.root = Root
cli.main()
"""


def test_130_for_an_interruption_that_python_loses() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=30, check=False
    )
    said = "evaldock: interrupted; nothing was left half-written\n"
    assert (done.returncode, done.stderr) == (130, said)


def test_a_reader_that_stops_early_is_no_error(folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{EVALDOCK} ls tasks --json | head -c 20"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[")
