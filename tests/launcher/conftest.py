"""The places where the launcher's jobs run: every backend that stands behind one contract.

A further backend joins by its name in `PLACES` and a function that makes its `Place`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from launched import Place
from launcher.jobs import JobHandle
from launcher.runs.database import Database
from lepton_place import lepton_place
from ray_place import ray_place
from services.engine import Engine
from services.shared import Shared
from slurm_place import slurm_docker_place, slurm_place


def _process(_request: pytest.FixtureRequest) -> Place:
    def lost(handle: JobHandle) -> None:
        os.kill(int(handle.native_id.partition(":")[0]), signal.SIGKILL)

    def killed(handle: JobHandle) -> None:
        # The script, by its working folder and its name: the runner's first child.
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _runs(entry, f"{handle.directory}/run.sh"):
                os.kill(int(entry.name), signal.SIGKILL)

    def cut(handle: JobHandle) -> tuple[Mapping[str, str], JobHandle]:
        native = handle.native_id.rpartition(":")[0]
        return {}, replace(handle, native_id=f"{native}:another-machine")

    return Place("process", lost=lost, killed=killed, cut=cut)


def _runs(entry: Path, script: str) -> bool:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")[1:2] == [script.encode()]
    except OSError:
        return False


def _docker(request: pytest.FixtureRequest) -> Place:
    image: str = request.getfixturevalue("whole_busybox")
    engine = request.getfixturevalue("docker_engine")

    def lost(handle: JobHandle) -> None:
        engine.run("rm", "--force", handle.native_id)

    def killed(handle: JobHandle) -> None:
        engine.run("kill", "--signal=KILL", handle.native_id)

    def cut(handle: JobHandle) -> tuple[Mapping[str, str], JobHandle]:
        return {"DOCKER_HOST": "unix:///nowhere/docker.sock"}, handle

    def native(handle: JobHandle) -> str:
        return str(engine.run("inspect", handle.native_id)) + str(engine.run("logs", handle.native_id))

    return Place("docker", image, "none", lost=lost, killed=killed, cut=cut, contained=True, native=native)


PLACES: Mapping[str, Callable[[pytest.FixtureRequest], Place]] = {
    "process": _process,
    "docker": _docker,
    "lepton": lepton_place,
    "ray": ray_place,
    "slurm": slurm_place,
    "slurm-docker": slurm_docker_place,
}


SERVICES = {"docker": [pytest.mark.service("docker")]}


@pytest.fixture(params=[pytest.param(name, marks=SERVICES.get(name, ())) for name in PLACES])
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param](request)


@pytest.fixture(params=["process", pytest.param("docker", marks=SERVICES["docker"])])
def near(request: pytest.FixtureRequest) -> Place:
    """Those of this machine, for what the backend makes no difference to."""
    return PLACES[request.param](request)


@pytest.fixture
def on_process(request: pytest.FixtureRequest) -> Place:
    return _process(request)


@pytest.fixture
def on_docker(request: pytest.FixtureRequest, docker_engine: Engine) -> Place:
    return _docker(request)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state" / "runs.db")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def environments(shared: Shared) -> Path:
    """A cache that the run's tests share: making a harness's environment takes longer than using it."""
    return shared.folder / "environments"
