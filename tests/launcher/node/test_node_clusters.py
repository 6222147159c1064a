"""pyxis, apptainer and several nodes, which no Debian package has: their words, and executables that take
them and run what stands behind them on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused
from launched import wait_for
from launcher.jobs import Deployment, Mount, Resources, SecretName
from launcher.node.node_script import node_script
from on_node import clean

IMAGE = "registry.example/evals/shell:1@sha256:" + "1" * 64
# What follows the options is run, with the job's folder where the container would see it.
FAKE = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_LOG"
job= tasks=1
[ "$1" != exec ] || shift
while :; do
  case $1 in
    --container-mounts=*) job=${1#*=}; job=${job%%:*}; shift ;;
    --ntasks=*) tasks=${1#*=}; shift ;;
    --bind) [ -n "$job" ] || job=${2%%:*}; shift 2 ;;
    --pwd) shift 2 ;;
    -*|docker://*) shift ;;
    *) break ;;
  esac
done
count=$# at=0
while [ "$at" -lt "$count" ]; do
  word=$1; shift
  case $word in /job*) word=$job${word#/job} ;; esac
  set -- "$@" "$word"
  at=$((at + 1))
done
trap 'kill -TERM $parts' TERM
parts= number=0
while [ "$number" -lt "$tasks" ]; do
  SLURM_PROCID=$number setsid "$@" &
  parts="$parts $!"
  number=$((number + 1))
done
code=0
for part in $parts; do wait "$part" || code=$?; done
for part in $parts; do wait "$part"; done
exit "$code"
"""
ENROOT = """#!/bin/sh
# A superblock of a squashfs with nothing behind it: 96 bytes, its size at byte 40.
printf '%s\\n' "enroot $*" >>"$FAKE_LOG"
{ printf hsqs; printf '%36s' . ; printf '\\140\\0\\0\\0\\0\\0\\0\\0'; printf '%48s' . ; } >"$3"
"""
RUNTIMES = pytest.mark.parametrize("runtime", ["none"], indirect=True)


@pytest.fixture
def fakes(tmp_path: Path) -> Mapping[str, str]:
    folder = tmp_path / "fakes"
    folder.mkdir()
    for name, text in (("srun", FAKE), ("apptainer", FAKE), ("enroot", ENROOT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_LOG": str(tmp_path / "fake.log")}


def contained(node: Any, runtime: str, command: str, **fields: Any) -> Any:
    return replace(node(command, image=IMAGE, **fields), runtime=runtime)


@RUNTIMES
@pytest.mark.parametrize("kind", ["pyxis", "apptainer"])
def test_a_job_runs_in_the_container_of_the_cluster(
    node: Any, kind: str, fakes: Mapping[str, str], tmp_path: Path
) -> None:
    data = Mount(source="/data/set one", target="/data", read_only=True)
    one = contained(node, kind, 'printf %s "$KEY" >artifacts/key; exit 3', mounts=(data,))
    one = replace(
        one, run=replace(one.run, jobs=(replace(one.job, secrets=(SecretName(name="KEY", source="K"),)),))
    )
    assert one.work(secrets={"K": "se'cret"}, environ=fakes) == 3
    assert (one.artifacts / "key").read_text() == "se'cret"
    assert one.exit()["exit_code"] == 3
    said = (tmp_path / "fake.log").read_text()
    assert "se'cret" not in said
    hexed = "1" * 64
    folder = one.folder
    if kind == "pyxis":
        assert f"enroot import --output {one.root}/.evaldock/images/.{hexed}" in said
        assert f"docker://registry.example#evals/shell:sha256:{hexed}" in said
        assert said.splitlines()[-1] == (
            "--overlap --export=ALL --nodes=1 --ntasks=1 --ntasks-per-node=1 "
            f"--container-image={one.root}/.evaldock/images/{hexed}.sqsh --no-container-mount-home "
            f"--container-workdir=/job --container-mounts={folder}:/job,{folder}/artifacts:/results,"
            "/data/set one:/data:ro sh /job/run.sh"
        )
    else:
        assert said.splitlines() == [
            f"exec --pid --no-home --writable-tmpfs --bind {folder}:/job --bind {folder}/artifacts:/results "
            f"--bind /data/set one:/data:ro --pwd /job docker://registry.example/evals/shell@sha256:{hexed} "
            "sh /job/run.sh"
        ]
    clean(one)


@RUNTIMES
@pytest.mark.parametrize("kind", ["pyxis", "apptainer"])
def test_a_request_to_stop_goes_through_the_clusters_container(
    node: Any, kind: str, fakes: Mapping[str, str]
) -> None:
    one = contained(node, kind, "touch artifacts/ready; while :; do sleep 0.1; done")
    one.stage()
    running = one.start(environ=fakes)
    wait_for(one.artifacts / "ready")
    running.terminate()
    assert running.wait(timeout=30) == 143
    assert one.exit()["reason"] == "stopped on request"
    clean(one)


@RUNTIMES
@pytest.mark.parametrize("kind", ["none", "pyxis", "apptainer"])
def test_a_recipe_has_its_part_on_every_node(node: Any, kind: str, fakes: Mapping[str, str]) -> None:
    command = 'printf %s "$SLURM_PROCID $EVALDOCK_HEAD $KEY" >"$EVALDOCK_RESULTS/part$SLURM_PROCID"'
    one = contained(
        node,
        kind,
        command,
        kind="recipe",
        on_every_node=True,
        resources=Resources(nodes=3),
        secrets=(SecretName(name="KEY", source="K"),),
    )
    if kind != "none":
        # No fake mounts anything: the results are those of the container.
        one = contained(
            node, kind, "printf %s x", kind="recipe", on_every_node=True, resources=Resources(nodes=3)
        )
        words = node_script(one.run, one.job, 1, runtime=kind, root=str(one.root))
        assert "--nodes=3 --ntasks=3 --ntasks-per-node=1 --kill-on-bad-exit=1" in words
        return
    assert one.work(secrets={"K": "key"}, environ=fakes) == 0
    name = os.uname().nodename
    assert [(one.artifacts / f"part{at}").read_text() for at in range(3)] == [
        f"{at} {name} key" for at in range(3)
    ]
    assert (one.folder / "nodes" / "2" / "exit.json").exists()
    clean(one)


@RUNTIMES
def test_a_part_that_fails_fails_the_job(node: Any, fakes: Mapping[str, str]) -> None:
    one = node(
        '[ "$SLURM_PROCID" != 1 ] || exit 5', kind="recipe", on_every_node=True, resources=Resources(nodes=2)
    )
    assert one.work(environ=fakes) != 0
    assert one.exit()["exit_code"] == 5
    assert "nodes/1" in one.exit()["reason"]


@RUNTIMES
def test_what_a_runtime_cannot_do_is_refused(node: Any) -> None:
    one = node("true", image=IMAGE)
    serving = Deployment(type="nim", image=IMAGE, command=(), port=1)
    with pytest.raises(Refused, match="started by its image"):
        node_script(one.run, replace(one.job, deployment=serving), 1, runtime="pyxis", root="/r")
    odd = replace(one.job, mounts=(Mount(source="/a:b", target="/c"),))
    with pytest.raises(Refused, match="separates mounts"):
        node_script(one.run, odd, 1, runtime="apptainer", root="/r")
    spread = replace(one.job, kind="recipe", on_every_node=True, resources=Resources(nodes=2))
    with pytest.raises(Refused, match="on one node"):
        node_script(one.run, spread, 1, runtime="docker", root="/r")


@RUNTIMES
def test_options_of_a_container_are_those_of_the_engines_api(node: Any) -> None:
    settings = {
        "ulimits": [{"name": "nofile", "soft": 77, "hard": 88}],
        "tmpfs": ["/scratch:size=1m"],
        "cap_add": ["SYS_PTRACE"],
        "init": True,
        "env": [["FLAG", "two words"]],
        "platform": "linux/amd64",
    }
    one = node("true", image=IMAGE, user="7:8", mounts=(Mount(source='/a,b"c', target="/d"),))
    job = replace(
        one.job, resources=Resources(cpus=0.5, memory=1 << 20, shm=4096, gpu_ids=("0", "2")), network="host"
    )
    words = {
        kind: node_script(replace(one.run, settings=settings), job, 2, runtime=kind, root="/r")
        for kind in ("docker", "podman")
    }
    given = {kind: re.search(r"create (.*) \|\|", text) for kind, text in words.items()}
    assert given["docker"] is not None
    assert given["podman"] is not None
    folder = one.folder
    key = one.job.key
    assert given["docker"][1] == (
        "'--gpus=\"device=0,2\"' "
        f"--name=evaldock-{key}-2 --label=evaldock.key={key} --label=evaldock.attempt=2 "
        f"--label=evaldock.role=job --label=evaldock.run={one.run.run_id} --memory=1048576 --network=host "
        "--cap-add=SYS_PTRACE --init=true --platform=linux/amd64 --shm-size=4096 --user=7:8 --cpus=0.5 "
        "--ulimit=nofile=77:88 --tmpfs=/scratch:size=1m '--env=FLAG=two words' "
        f"--mount=type=bind,source={folder},target=/job "
        f"--mount=type=bind,source={folder}/artifacts,target=/results "
        '\'--mount=type=bind,"source=/a,b""c",target=/d\' --entrypoint=/bin/sh '
        f"{IMAGE} /job/run.sh"
    )
    assert "--device=nvidia.com/gpu=0 --device=nvidia.com/gpu=2" in given["podman"][1]
    assert "chown -R 7:8 ." in words["docker"]
