"""Two jobs on a node have GPUs of their own: a container is given those that its job's scheduler reserved."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.jobs import Deployment, Resources
from on_node import Node
from services.engine import Engine

IMAGE = "registry.example/evals/shell@sha256:" + "1" * 64
# An engine with every image, which keeps the words of each `create`. The server runs until it is removed.
ENGINE = """#!/bin/sh
case $1 in
create) printf '%s\\0' "$@" >>"$ENGINE_LOG"; printf '\\n' >>"$ENGINE_LOG"; rm -f "$ENGINE_LOG.gone" ;;
rm) : >"$ENGINE_LOG.gone" ;;
wait)
  case $2 in *-server) until [ -e "$ENGINE_LOG.gone" ]; do sleep 0.1; done ;; esac
  echo 0
  ;;
inspect) echo true ;;
esac
"""
UUID, MIG = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "MIG-c2f1b5a0-8f43-5f0a-9b57-5b0c3f6c1d1e"
SLURM = {"SLURM_JOB_GPUS": "2,5", "CUDA_VISIBLE_DEVICES": "0,1"}
Asked = Callable[..., list[list[str]]]

ON_NODE = pytest.mark.parametrize("runtime", ["none"], indirect=True)


@pytest.fixture
def asked(node: Callable[..., Node], tmp_path: Path) -> Asked:
    """The words about GPUs of each container that is made for a job, in turn."""
    folder, log = tmp_path / "engines", tmp_path / "engine.log"
    folder.mkdir()
    for name in ("docker", "podman"):
        (folder / name).write_text(ENGINE)
        (folder / name).chmod(0o755)

    def made(engine: str, backend: str, environ: Mapping[str, str], wanted: Resources) -> list[list[str]]:
        server = Deployment(type="generic", image=IMAGE, command=("serve",), port=1, resources=wanted)
        one = node("true", image=IMAGE, resources=wanted, deployment=server)
        one = replace(one, runtime=engine, run=replace(one.run, backend=backend))
        # What runs the tests may itself have GPUs reserved.
        own = dict.fromkeys(("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"), "")
        path = f"{folder}:{os.environ['PATH']}"
        one.work(environ={**own, **environ, "PATH": path, "ENGINE_LOG": str(log)})
        calls = [call.split("\0") for call in log.read_text().splitlines()]
        return [[word for word in call if word.startswith(("--gpus", "--device"))] for call in calls]

    return made


def docker(devices: str) -> list[str]:
    return [f'--gpus="device={devices}"']


def podman(*devices: str) -> list[str]:
    return [f"--device=nvidia.com/gpu={device}" for device in devices]


@ON_NODE
@pytest.mark.parametrize(
    ("engine", "backend", "environ", "expected"),
    [
        ("docker", "slurm", SLURM, docker("2,5")),
        ("podman", "slurm", SLURM, podman("2", "5")),
        ("docker", "slurm", {**SLURM, "SLURM_STEP_GPUS": "7,6"}, docker("7,6")),
        ("docker", "slurm", {**SLURM, "CUDA_VISIBLE_DEVICES": f"{MIG},{UUID}"}, docker(f"{MIG},{UUID}")),
        ("podman", "slurm", {**SLURM, "CUDA_VISIBLE_DEVICES": f"{MIG},{UUID}"}, podman(MIG, UUID)),
        ("docker", "slurm", {"SLURM_JOB_GPUS": "0,1,2,3"}, docker("0,1")),
        ("docker", "slurm", {"CUDA_VISIBLE_DEVICES": "3,4"}, docker("3,4")),
        ("docker", "slurm", {"SLURM_JOB_GPUS": "NoDevFiles"}, ["--gpus=2"]),
        ("docker", "slurm", {}, ["--gpus=2"]),
        ("podman", "slurm", {}, podman("0", "1")),
        ("docker", "ray", {**SLURM, "CUDA_VISIBLE_DEVICES": "5,6"}, docker("5,6")),
        ("podman", "ray", {"CUDA_VISIBLE_DEVICES": "5,6"}, podman("5", "6")),
        ("docker", "ray", {"CUDA_VISIBLE_DEVICES": "$(touch pwned),1"}, ["--gpus=2"]),
        ("podman", "ray", {"CUDA_VISIBLE_DEVICES": "0 --privileged"}, podman("0", "1")),
    ],
)
def test_the_reserved_gpus_are_given(
    asked: Asked, engine: str, backend: str, environ: Mapping[str, str], expected: Sequence[str]
) -> None:
    # The model's server and the evaluation share what their job has.
    assert asked(engine, backend, environ, Resources(gpus=2)) == [expected, expected]


@ON_NODE
@pytest.mark.parametrize(
    ("engine", "environ", "expected"),
    [
        ("docker", SLURM, docker("2,5")),
        ("docker", {}, ["--gpus=all"]),
        ("podman", SLURM, podman("2", "5")),
        ("podman", {}, podman("all")),
    ],
)
def test_all_gpus_are_all_of_the_jobs(
    asked: Asked, engine: str, environ: Mapping[str, str], expected: Sequence[str]
) -> None:
    assert asked(engine, "slurm", environ, Resources(gpus=-1)) == [expected, expected]


@ON_NODE
def test_named_gpus_are_these(asked: Asked) -> None:
    assert asked("docker", "slurm", SLURM, Resources(gpu_ids=("0", "1")))[0] == docker("0,1")


@ON_NODE
def test_who_asks_for_no_gpu_gets_none(asked: Asked) -> None:
    assert asked("podman", "slurm", SLURM, Resources()) == [[], []]


def test_the_engine_itself_reads_two_devices(docker_engine: Engine, busybox_image: str) -> None:
    (words,) = docker("2,5")
    made = docker_engine.run("create", words, busybox_image, "true").strip()
    shown = docker_engine.run("inspect", "--format", "{{json .HostConfig.DeviceRequests}}", made)
    docker_engine.run("rm", made)
    (request,) = json.loads(shown)
    assert request["DeviceIDs"] == ["2", "5"]
