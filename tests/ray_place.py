"""The place where the launcher's jobs run on a real Ray head."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import Place, Unheard, until
from launcher.backends.ray_api import Cluster
from launcher.backends.ray_request import submission_id
from launcher.jobs import JobHandle
from mute_server import mute_server
from services.ray_head import CPUS, RayHead
from services.shared import Shared


def ray_place(request: pytest.FixtureRequest, **settings: Any) -> Place:
    """With a folder that launcher and node share, unless `settings` say otherwise."""
    head: RayHead = request.getfixturevalue("ray_head")
    shared: Shared = request.getfixturevalue("shared")
    return place_on(head, shared_root(shared), **settings)


def shared_root(shared: Shared) -> Path:
    """One for all tests: environments of harnesses below it are made once."""
    root = shared.folder / "ray-shared"
    root.mkdir(exist_ok=True)
    return root


def place_on(head: RayHead, root: Path, **settings: Any) -> Place:
    root.mkdir(parents=True, exist_ok=True)
    given = {"dashboard_url": head.url, "shared_dir": str(root), "storage_delay": 5.0, **settings}
    given = {name: value for name, value in given.items() if value is not None}

    def lost(handle: JobHandle) -> None:
        """Its node dies without a word, and Ray forgets it."""
        # Nobody may see the others die.
        signal_all(handle, "", signal.SIGSTOP)
        signal_all(handle, "", signal.SIGKILL)
        identity = submission_id(handle.key, handle.attempt)
        until(lambda: head.get(f"/api/jobs/{identity}")["status"] == "FAILED", "Ray notices it")
        until(lambda: _forgotten(head, identity), "Ray forgets it")

    def killed(handle: JobHandle) -> None:
        signal_all(handle, "run.sh", signal.SIGKILL)

    def cut(handle: JobHandle) -> Unheard:
        return {}, replace(handle, settings={**given, "dashboard_url": "http://127.0.0.1:9"})

    @contextmanager
    def mute(handle: JobHandle) -> Iterator[Unheard]:
        with mute_server() as host:
            yield {}, replace(handle, settings={**given, "dashboard_url": f"http://{host}"})

    @contextmanager
    def busy() -> Iterator[None]:
        cluster, holder = Cluster(head.url), f"holder-{secrets.token_hex(6)}"
        cluster.submit({"submission_id": holder, "entrypoint": "sleep 600", "entrypoint_num_cpus": CPUS})
        try:
            until(lambda: head.get(f"/api/jobs/{holder}")["status"] == "RUNNING", "all CPUs are taken")
            yield
        finally:
            cluster.stop(holder)

    def native(handle: JobHandle) -> str:
        job = head.get(f"/api/jobs/{submission_id(handle.key, handle.attempt)}")
        return json.dumps(job, ensure_ascii=False) + Cluster(head.url).log(job).decode("utf-8", "replace")

    remote = str(root if given.get("shared_dir") else given.get("node_dir", root))
    return Place(
        "ray",
        lost=lost,
        killed=killed,
        cut=cut,
        mute=mute,
        remote=remote,
        settings=given,
        execution=given,
        native=native,
        busy=busy,
    )


def _forgotten(head: RayHead, identity: str) -> bool:
    """Ray's own watch over a job writes what it saw once more, within two seconds."""
    cluster = Cluster(head.url)
    cluster.forget(identity)
    time.sleep(2)
    return cluster.job(identity) is None


def signal_all(handle: JobHandle, script: str, number: signal.Signals) -> None:
    """To the shells of the job's folder that run a script of this name; "" is everybody there."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:3]
            there = str((entry / "cwd").readlink())
            named = not script or any(word.rpartition("/")[2] == script for word in words)
            if there.startswith(handle.directory) and named:
                os.kill(int(entry.name), number)
