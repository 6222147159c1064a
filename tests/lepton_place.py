"""Lepton as a place of the contract suite: the stand-in's workspace, without storage that both sides see."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from launched import Place, until
from launcher.backends import lepton_api
from launcher.jobs import JobHandle
from services.lepton import Lepton
from services.processes import free_port

# The one that the contract suite gives away: here it is a secret of the workspace.
SECRET = "s3cr$t'\"`x` \\ value"
IMAGE = "registry.example/evals/shell@sha256:" + "1" * 64


def lepton_place(request: pytest.FixtureRequest) -> Place:
    workspace: Lepton = request.getfixturevalue("lepton")
    root = Path(request.getfixturevalue("tmp_path")) / "container"

    def lost(handle: JobHandle) -> None:
        workspace.change(lose=[handle.native_id])

    def killed(handle: JobHandle) -> None:
        script = until(lambda: _script(workspace, handle), "the job's script runs")
        os.kill(script, signal.SIGKILL)

    def cut(handle: JobHandle) -> tuple[Mapping[str, str], JobHandle]:
        return {"LEPTON_WORKSPACE_URL": f"http://127.0.0.1:{free_port()}"}, handle

    def native(handle: JobHandle) -> str:
        log = lepton_log(workspace, handle).decode("utf-8", "replace")
        return json.dumps(workspace.look()["jobs"][handle.native_id], ensure_ascii=False) + log

    execution = {"resource_shape": "cpu.small", "output_dir": str(root)}
    workspace.change(settings={"secrets": {"HOST_KEY": SECRET}})
    return Place(
        "lepton",
        IMAGE,
        lost=lost,
        killed=killed,
        cut=cut,
        remote=str(root),
        settings={**execution, "results_limit": 1 << 20},
        execution=execution,
        native=native,
    )


def lepton_log(workspace: Lepton, handle: JobHandle) -> bytes:
    with lepton_api.connected({"api_url": workspace.url}) as lepton:
        return lepton.log(handle.native_id, lepton.replicas(handle.native_id)[0])[0]


def _script(workspace: Lepton, handle: JobHandle) -> int | None:
    for pid in workspace.look()["jobs"][handle.native_id]["pids"]:
        if b"./run.sh" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            found: int = pid
            return found
    return None
