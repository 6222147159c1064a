"""The services that other tests stand on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from services.engine import Engine
from services.processes import start, stop_all
from services.pypi import RealWheels
from services.required import Unavailable
from services.shared import Shared
from services.skopeo import Skopeo


def test_the_registry_answers(registry: str) -> None:
    with urllib.request.urlopen(f"http://{registry}/v2/_catalog", timeout=5) as answer:
        assert "repositories" in json.load(answer)


def test_the_engine_runs_a_container(docker_engine: Engine, busybox_image: str) -> None:
    said = docker_engine.run("run", "--rm", "--network=host", busybox_image, "sh", "-c", "echo ready")
    assert said == "ready\n"
    assert os.environ["DOCKER_HOST"] == docker_engine.host


def test_skopeo_copies_from_the_engine_to_the_registry(
    docker_engine: Engine, busybox_image: str, registry: str, skopeo: Skopeo
) -> None:
    target = f"docker://{registry}/foundation/busybox:1"
    skopeo(
        "copy",
        f"--src-daemon-host={docker_engine.host}",
        f"docker-daemon:{busybox_image}",
        target,
        "--dest-tls-verify=false",
    )
    assert json.loads(skopeo("inspect", "--tls-verify=false", target))["Architecture"]


def test_a_service_starts_once_and_its_failure_is_remembered(tmp_path: Path) -> None:
    shared = Shared(tmp_path, os.getpid())
    starts = []

    def begin(folder: Path) -> dict[str, str]:
        starts.append(folder)
        raise Unavailable("there is none")

    for _ in range(2):
        with pytest.raises(Unavailable, match="there is none"):
            shared.once("thing", begin)
    assert starts == [tmp_path / "thing"]
    assert shared.once("other", lambda folder: {"at": str(folder)}) == {"at": str(tmp_path / "other")}
    assert shared.once("other", begin) == {"at": str(tmp_path / "other")}


def test_a_start_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    shared = Shared(tmp_path, os.getpid())
    with pytest.raises(ZeroDivisionError):
        shared.once("thing", lambda folder: {"never": len(folder.parts) // 0})
    with pytest.raises(RuntimeError, match="thing failed to start for an earlier test: ZeroDivisionError"):
        shared.once("thing", lambda folder: {"at": str(folder)})


def _gone(pid: int) -> bool:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


def test_a_server_ends_with_its_run(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "sleeper"
    folder.mkdir(parents=True)
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    supervisor = start([sys.executable, "-c", script], folder=folder, owner=os.getpid())
    server = _pid_in(folder / "log")
    stop_all(tmp_path / "run")
    supervisor.wait(10)
    assert _gone(server)
    assert not folder.exists()


def test_a_server_ends_when_the_run_was_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    supervisor = start([sys.executable, "-c", script], folder=tmp_path, owner=owner.pid)
    server = _pid_in(tmp_path / "log")
    owner.kill()
    owner.wait()
    supervisor.wait(10)
    assert _gone(server)


def _pid_in(log: Path) -> int:
    for _ in range(200):
        if log.exists() and log.read_text().endswith("\n"):
            return int(log.read_text())
        time.sleep(0.05)
    raise AssertionError("the server printed nothing")


def test_the_wheels_hold_framework_files(real_wheels: RealWheels) -> None:
    for wheel in real_wheels.harnesses:
        names = zipfile.ZipFile(wheel).namelist()
        assert any(name.startswith("core_evals/") and name.endswith("/framework.yml") for name in names)
    resources = zipfile.ZipFile(real_wheels.launcher).namelist()
    assert "nemo_evaluator_launcher/resources/all_tasks_irs.yaml" in resources
