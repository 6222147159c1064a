"""Images that aren't there, disks that fill up, engines that stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, Place, changed, exit_of, python, slow_package, supervise, until, wait_for
from launcher.backends import process_runner, processes
from launcher.jobs import Deployment, JobHandle, State
from launcher.runs import run_directory as files
from launcher.runs.database import Database
from launcher.runs.supervisor import request_stop, tick
from services.engine import Engine, start_engine
from services.shared import Shared

MISSING = "sha256:" + "0" * 64


def test_an_image_that_is_not_there(
    on_docker: Place, registry: str, tmp_path: Path, database: Database, docker_engine: Engine
) -> None:
    image = f"{registry}/test/nothing@{MISSING}"
    run = changed(on_docker.run(tmp_path, "true"), image=image)
    server = Deployment(type="generic", image=on_docker.image, command=("sleep", "600"), port=1)
    with_server = changed(on_docker.run(tmp_path, "true"), image=image, deployment=server)
    for each in (run, with_server):
        database.record(each)
        (row,) = supervise(database, each)
        assert (row.state, row.native_id) == (State.FAILED, None)
        assert str(row.reason).startswith(f"not submitted: the engine can't get {image}")
        assert "is it pushed, and may this machine read it?" in str(row.reason)
        assert docker_engine.run("ps", "-aq", "--filter", f"label=evaldock.run={each.run_id}") == ""


def test_a_disk_that_fills_up_is_the_reason(near: Place, small_disk: Path, database: Database) -> None:
    run = near.run(small_disk, "cat /dev/zero >{out}/big; exit 5")
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.exit_code) == (State.FAILED, 5)
    assert row.reason == "no space left in the output directory"


def test_a_disk_that_is_full_already_stops_nothing_else(
    near: Place, small_disk: Path, database: Database, tmp_path: Path
) -> None:
    run = near.run(small_disk, RESULTS)
    Path(run.directory).mkdir()
    with (small_disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (1 << 20) - 16384)
    database.record(run)
    (row,) = supervise(database, run)
    assert row.state is State.FAILED
    assert "No space left on device" in str(row.reason)
    assert not list(small_disk.rglob(".secrets"))


@pytest.fixture
def own_engine(
    shared: Shared, docker_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """An engine of the test's own, which it can `stop`, `kill` and `start`."""
    if os.geteuid() != 0:
        pytest.skip("an engine of one's own needs root")
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir=shared.folder))

    def start() -> None:
        monkeypatch.setenv("DOCKER_HOST", start_engine(shared, folder)["host"])

    def command(what: str) -> None:
        if what == "start":
            start()
            return
        supervisor = int((folder / "supervisor.pid").read_text())
        if what == "kill":
            engine = int((folder / "overlay2" / "docker.pid").read_text())
            os.kill(engine, signal.SIGKILL)
        else:
            os.kill(supervisor, signal.SIGTERM)
        until(lambda: not _runs(supervisor), "the engine ends")

    start()
    yield command
    command("stop")
    # What watched over a killed engine's containers outlives that engine, and so do they.
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                subprocess.run(["pkill", "-KILL", "-P", entry.name], check=False)
                os.kill(int(entry.name), signal.SIGKILL)


def _runs(pid: int) -> bool:
    return processes.start_time(pid) is not None


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_engine_that_stops_mid_run(
    how: str, on_docker: Place, own_engine: Callable[[str], None], tmp_path: Path, database: Database
) -> None:
    command = f"echo once >>{{out}}/count; [ -e {{out}}/go ] && {RESULTS} || while :; do sleep 0.1; done"
    run = on_docker.run(tmp_path, command, retries=1)
    database.record(run)
    tick(database, run.run_id, {})
    out = wait_for(Path(run.directory) / run.jobs[0].directory / "artifacts" / "count").parent
    own_engine(how)
    (row,) = tick(database, run.run_id, {})
    assert row.state is State.UNKNOWN
    assert "no container engine answers" in str(row.reason)
    (out / "go").touch()
    own_engine("start")
    (row,) = supervise(database, run)
    assert (row.state, row.attempt) == (State.SUCCEEDED, 2)
    assert (out / "count").read_text() == "once\nonce\n"


def test_an_engine_that_is_not_there_yet_keeps_the_job_waiting(
    on_docker: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = on_docker.run(tmp_path, RESULTS)
    database.record(run)
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        (row,) = tick(database, run.run_id, {"EVALDOCK_RETRY_PAUSE": "0"})
    assert row.state is State.PLANNED
    assert "no container engine answers at unix:///nowhere/docker.sock" in str(row.reason)
    (row,) = supervise(database, run)
    assert row.state is State.SUCCEEDED


def test_a_runner_that_cannot_start_says_why(
    on_process: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    run = on_process.run(tmp_path, RESULTS)
    folder = Path(run.directory) / run.jobs[0].directory
    (folder / process_runner.STATE).mkdir(parents=True)  # so that it can't write who it is
    database.record(run)
    (row,) = tick(database, run.run_id, {})
    assert row.state is State.PLANNED
    assert "the job's runner did not start" in str(row.reason)
    assert "IsADirectoryError" in (folder / "runner.log").read_text()


# A runner that is asked to stop while it starts its first process, which hasn't got its environment yet.
ASKED_EARLY = """
import os, signal, subprocess
from launcher.backends import process_runner

class Early(subprocess.Popen):
    def __init__(self, *command, env, **given):
        super().__init__(*command, env={}, **given)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Early
process_runner.main()
"""
SERVER = {
    "type": "generic",
    "secrets": [],
    "command": ["sleep", "60"],
    "port": 1,
    "env": {},
    "deadline": 60,
    "health_path": "/",
}


@pytest.mark.parametrize("deployment", [None, SERVER], ids=["script", "server"])
def test_what_is_just_being_started_is_stopped_too(deployment: dict[str, Any] | None, tmp_path: Path) -> None:
    plan = {
        "key": "k",
        "attempt": 1,
        "kind": "task",
        "packages": [],
        "code": None,
        "root": ".",
        "runtime": [],
    }
    (tmp_path / process_runner.PLAN).write_text(json.dumps({**plan, "deployment": deployment}))
    (tmp_path / files.JOB_LOG).parent.mkdir()
    (tmp_path / files.SCRIPT).write_text("sleep 60\n")
    runner = python(ASKED_EARLY, str(tmp_path))
    out, err = runner.communicate(timeout=60)
    assert err == ""
    assert processes.start_time(int(out)) is None
    ended = json.loads((tmp_path / "exit.json").read_text())
    assert (ended["exit_code"], ended["reason"]) == (143, "stopped on request")


def test_a_request_while_installing_ends_all_of_it(
    on_process: Place, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALDOCK_CACHE", str(tmp_path / "cache"))
    slow, started = slow_package(tmp_path)
    run = changed(on_process.run(tmp_path, RESULTS), packages=(str(slow),))
    database.record(run)
    tick(database, run.run_id, {})
    builder = until(lambda: started.exists() and int(started.read_text() or 0), "the package is built")
    request_stop(database, run.run_id)
    (row,) = supervise(database, run)
    assert row.state is State.CANCELLED
    assert processes.start_time(builder) is None


INSTALL = """
import sys
from pathlib import Path
from launcher.backends import environments
print(environments.ensure([sys.argv[1]], Path("/"), lambda text: print(text)))
"""


def test_two_that_need_the_same_environment_make_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "tiny.py").write_text("")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny"\nversion = "1.0"\n'
    )
    (package / "backend.py").write_text(BACKEND)
    both = [python(INSTALL, str(package)) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    outs = [out.splitlines() for out, _ in said]
    assert outs[0][-1] == outs[1][-1]
    assert sorted(len(out) for out in outs) == [1, 2]


# A build backend of the standard library alone, so that nothing is fetched.
BACKEND = """
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as file:
        file.write("tiny.py")
        info = "tiny-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(f"{info}/RECORD", "")
    return name
"""


def test_packages_that_cannot_be_had_fail_the_job(
    on_process: Place, tmp_path: Path, database: Database
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text("not toml [")
    run = changed(on_process.run(tmp_path, "true"), packages=(str(broken),))
    database.record(run)
    (row,) = supervise(database, run)
    assert (row.state, row.exit_code) == (State.FAILED, 70)
    assert "installing the harness's packages failed" in str(row.reason)
    handle = row.handle("process")
    assert isinstance(handle, JobHandle)
    assert exit_of(replace(handle))["exit_code"] == 70
