"""The places where the launcher's jobs run, as fixtures."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from job_places import PLACES, named
from launched import Place
from launcher.runs.database import Database
from local_places import docker_place, process_place
from services.engine import Engine
from services.shared import Shared


@pytest.fixture(params=named())
def place(request: pytest.FixtureRequest) -> Place:
    """All of them, but for a test that `job_places.on` keeps to some."""
    return PLACES[request.param].make(request)


@pytest.fixture(params=named(scheduled=False))
def near(request: pytest.FixtureRequest) -> Place:
    """Those of this machine, for what the backend makes no difference to."""
    return PLACES[request.param].make(request)


@pytest.fixture
def on_process(request: pytest.FixtureRequest) -> Place:
    return process_place(request)


@pytest.fixture
def on_docker(request: pytest.FixtureRequest, docker_engine: Engine) -> Place:
    return docker_place(request)


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
