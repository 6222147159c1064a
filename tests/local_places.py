"""The places where the launcher's jobs run on its own machine: processes, and containers of its engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from launched import Place, Unheard
from launcher.jobs import JobHandle
from mute_server import mute_server
from services.engine import Engine


def process_place(_request: pytest.FixtureRequest) -> Place:
    def lost(handle: JobHandle) -> None:
        os.kill(int(handle.native_id.partition(":")[0]), signal.SIGKILL)

    def killed(handle: JobHandle) -> None:
        # The script, by its working folder and its name: the runner's first child.
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _runs(entry, f"{handle.directory}/run.sh"):
                os.kill(int(entry.name), signal.SIGKILL)

    def cut(handle: JobHandle) -> Unheard:
        native = handle.native_id.rpartition(":")[0]
        return {}, replace(handle, native_id=f"{native}:another-machine")

    return Place("process", lost=lost, killed=killed, cut=cut)


def _runs(entry: Path, script: str) -> bool:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")[1:2] == [script.encode()]
    except OSError:
        return False


def docker_place(request: pytest.FixtureRequest) -> Place:
    image: str = request.getfixturevalue("whole_busybox")
    engine: Engine = request.getfixturevalue("docker_engine")

    def lost(handle: JobHandle) -> None:
        engine.run("rm", "--force", handle.native_id)

    def killed(handle: JobHandle) -> None:
        engine.run("kill", "--signal=KILL", handle.native_id)

    def cut(handle: JobHandle) -> Unheard:
        return {"DOCKER_HOST": "unix:///nowhere/docker.sock"}, handle

    @contextmanager
    def mute(handle: JobHandle) -> Iterator[Unheard]:
        with mute_server() as host:
            yield {"DOCKER_HOST": f"tcp://{host}"}, handle

    def native(handle: JobHandle) -> str:
        return engine.run("inspect", handle.native_id) + engine.run("logs", handle.native_id)

    return Place(
        "docker",
        image,
        "none",
        lost=lost,
        killed=killed,
        cut=cut,
        mute=mute,
        contained=True,
        native=native,
    )
