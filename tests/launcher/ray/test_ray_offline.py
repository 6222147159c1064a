"""Dry runs reach for nothing, and what belongs to one backend stays out of the others."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.backends.protocol import load
from launcher.configuration.compose import compose
from launcher.configuration.model import validate
from launcher.plans.planning import plan_run
from planned_runs import RUN_ID, catalog, plan
from running import evaldock

ROOT = Path(__file__).parents[3]
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "sent": {"backend": {"name": "ray", "endpoint": "ray://192.0.2.1:10001"}},
    "shared": {
        "backend": {"name": "ray", "dashboard_url": "http://192.0.2.1:8265", "shared_dir": "/mnt/shared"}
    },
    "looked at": {
        "backend": {"name": "kubernetes-ray", "kubernetes": {"dashboard_url": "http://192.0.2.1:8265"}},
        "preflight": {"enabled": True, "min_cluster_resources": {"cpu": 1}},
    },
    "in containers": {
        "backend": {"name": "ray", "dashboard_url": "http://192.0.2.1:8265", "container_runtime": "docker"}
    },
    "with a folder": {
        "backend": {"name": "ray", "dashboard_url": "http://192.0.2.1:8265", "working_dir": "."}
    },
}
IMPORTED = """
import json, sys
sys.path[:0] = [{root!r}, {tests!r}]
from planned_runs import plan
from launcher.backends.protocol import load
run = plan({{"execution": json.loads(sys.argv[1]), "evaluation": {{"tasks": ["quickcheck.chat"]}}}})
load(run.backend).plan(run, run.jobs[0])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_dry_run_opens_no_socket(shape: str, offline: None) -> None:
    run = plan({**SHAPES[shape], "evaluation": {"tasks": ["quickcheck.chat"]}})
    planned = load(run.backend).plan(run, run.jobs[0])
    assert planned["dashboard_url"] == "http://192.0.2.1:8265"
    assert json.loads(json.dumps(planned)) == planned


def test_the_command_prints_the_request_and_sends_nothing(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.yaml").write_text(
        json.dumps(
            {
                **SHAPES["looked at"],
                "target": {"api_endpoint": {"model_id": "m", "url": "http://192.0.2.1:8000/v1"}},
                "evaluation": {"tasks": ["quickcheck.chat"]},
            }
        )
    )
    monkeypatch.setenv("EVALDOCK_ALLOW_UNVERIFIED", "1")
    monkeypatch.chdir(tmp_path)
    ran = evaldock("run", "--config-dir", tmp_path, "--config-name", "run", "--dry-run", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert '"submission_id": "evaldock-' in ran.out
    assert not (tmp_path / "evaldock-runs").exists()


@pytest.mark.parametrize(
    ("execution", "kept_out"),
    [
        (
            {"type": "process"},
            ("ray", "docker", "paramiko", "leptonai", "launcher.backends.ray", "launcher.configuration.ray"),
        ),
        (
            {"type": "docker"},
            ("ray", "paramiko", "leptonai", "launcher.backends.ray", "launcher.configuration.ray_shapes"),
        ),
        (
            {"type": "ray", "dashboard_url": "http://192.0.2.1:8265"},
            (
                "ray",
                "requests",
                "docker",
                "paramiko",
                "leptonai",
                "launcher.backends.slurm",
                "launcher.backends.lepton",
            ),
        ),
        (
            {"type": "slurm", "hostname": "cluster.example", "output_dir": "/scratch/runs"},
            ("ray", "requests", "docker", "paramiko", "leptonai", "launcher.backends.ray"),
        ),
        (
            {"type": "lepton", "resource_shape": "cpu.small", "output_dir": "/evals"},
            ("ray", "requests", "docker", "paramiko", "leptonai", "launcher.backends.ray"),
        ),
    ],
    ids=["process", "docker", "ray", "slurm", "lepton"],
)
def test_no_backend_brings_another_one_along(execution: Mapping[str, Any], kept_out: tuple[str, ...]) -> None:
    code = IMPORTED.format(root=str(ROOT), tests=str(ROOT / "tests"))
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(execution)], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert f"launcher.backends.{execution['type']}" in loaded
    assert not set(kept_out) & loaded


def test_the_sample_for_kubernetes_plans() -> None:
    composed = compose(ROOT / "docs" / "how-to" / "ray-kubernetes.yaml", [])
    run = plan_run(catalog(), validate(composed), environ={}, run_id=RUN_ID, directory=Path("/runs/one")).plan
    assert (run.backend, run.remote, run.parallel) == ("ray", f"/mnt/shared/evaldock/{RUN_ID}", 8)
    assert run.settings["dashboard_url"] == "http://ray-head-svc.ray.svc.cluster.local:8265"
    assert run.settings["preflight"]["min_cluster_resources"] == {"cpu": 8.0, "gpu": None, "memory": 16 << 30}
    for job in run.jobs:
        request = load("ray").plan(run, job)["request"]
        assert request["entrypoint_label_selector"] == {"ray.io/node-group": "evaluation", "pool": "cpu"}
        assert request["runtime_env"]["env_vars"]["HF_HOME"] == "/mnt/shared/huggingface"
        assert "MODEL_KEY" not in request["runtime_env"]["env_vars"]
        assert 'export MODEL_KEY="$MODEL_KEY"' in load("ray").plan(run, job)["scripts"]["run.sh"]


def test_the_guide_s_examples_plan() -> None:
    page = (ROOT / "docs" / "how-to" / "ray.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert len(blocks) == 3
    cluster = {"backend": {"name": "ray", "dashboard_url": "http://192.0.2.1:8265"}}
    for block in blocks:
        run = plan({**cluster, "evaluation": {"tasks": ["quickcheck.chat"]}, **block})
        assert run.backend == "ray"
        assert load("ray").plan(run, run.jobs[0])["request"]["submission_id"].startswith("evaldock-")
