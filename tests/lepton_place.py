"""Lepton as a place of the contract suite: the stand-in's workspace, without storage that both sides see."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launched import SECRET, Place, Unheard, until
from launcher.backends import environments, lepton_api
from launcher.jobs import JobHandle
from mute_server import mute_server
from planned_runs import HARNESSES
from services.lepton import Lepton
from services.processes import free_port

# What the contract suite gives jobs under these names: on Lepton it is the workspace that has them.
SECRETS = {"HOST_KEY": SECRET, "STANDIN_KEY": "only-for-the-stand-in"}
# The harness in the image of a test module's jobs.
HARNESS = {
    "test_quickcheck": "./harnesses/quickcheck",
    "test_sharding": "./harnesses/quickcheck",
    "test_mmath": "./harnesses/mmath/requirements.txt",
}
IMAGE = "registry.example/evals/shell@sha256:" + "1" * 64


def lepton_place(request: pytest.FixtureRequest) -> Place:
    workspace: Lepton = request.getfixturevalue("lepton")
    root = Path(request.getfixturevalue("tmp_path")) / "container"

    def lost(handle: JobHandle) -> None:
        workspace.change(lose=[identity(handle)])

    def killed(handle: JobHandle) -> None:
        script = until(lambda: _script(workspace, handle), "the job's script runs")
        os.kill(script, signal.SIGKILL)

    def cut(handle: JobHandle) -> Unheard:
        return {"LEPTON_WORKSPACE_URL": f"http://127.0.0.1:{free_port()}"}, handle

    @contextmanager
    def mute(handle: JobHandle) -> Iterator[Unheard]:
        with mute_server() as host:
            yield {"LEPTON_WORKSPACE_URL": f"http://{host}"}, handle

    def native(handle: JobHandle) -> str:
        log = lepton_log(workspace, handle).decode("utf-8", "replace")
        return json.dumps(workspace.look()["jobs"][identity(handle)], ensure_ascii=False) + log

    @contextmanager
    def busy() -> Iterator[None]:
        workspace.change(settings={"hold": True})
        try:
            yield
        finally:
            workspace.change(settings={"hold": False})

    volume = {"from": "node-nfs:shared", "path": "/evals", "mount_path": str(root)}
    execution = {"resource_shape": "cpu.small", "output_dir": str(root)}
    workspace.change(settings={"secrets": SECRETS, "path": _programs(request)})
    return Place(
        "lepton",
        IMAGE,
        lost=lost,
        killed=killed,
        cut=cut,
        mute=mute,
        remote=str(root),
        settings={**execution, "volumes": [volume], "results_limit": 1 << 20},
        execution={**execution, "mounts": [volume]},
        native=native,
        busy=busy,
        # It knows before: a container without one of its secrets would never start.
        unset=(None, "not submitted: the workspace has no secret {}"),
    )


def _programs(request: pytest.FixtureRequest) -> list[str]:
    packages = HARNESS.get(request.node.path.stem)
    if packages is None:
        return []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALDOCK_CACHE", str(request.getfixturevalue("environments")))
        return [str(environments.ensure([packages], HARNESSES.parent) / "bin")]


def identity(handle: JobHandle) -> str:
    """The job's id in its workspace."""
    return handle.native_id.rpartition("/")[2]


def lepton_log(workspace: Lepton, handle: JobHandle) -> bytes:
    with lepton_api.connected({"api_url": workspace.url}) as lepton:
        return lepton.log(identity(handle), lepton.replicas(identity(handle))[0])[0]


def _script(workspace: Lepton, handle: JobHandle) -> int | None:
    for pid in workspace.look()["jobs"][identity(handle)]["pids"]:
        if b"./run.sh" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            found: int = pid
            return found
    return None
