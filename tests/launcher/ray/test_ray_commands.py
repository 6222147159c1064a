"""The launcher's commands on a real Ray cluster, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launched import until
from launcher.backends.ray_api import Cluster
from planned_runs import HARNESSES
from ray_place import shared_root
from running import evaldock
from services.ray_head import RayHead
from services.shared import Shared
from standins import standin


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("EVALDOCK_RETRY_PAUSE", "0.1")
    # They would lead Ray's own client elsewhere.
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    return tmp_path / "state"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[str]:
    with standin(tmp_path, "--latency", "600") as found:
        yield found


def configured(folder: Path, head: RayHead, shared: Shared, url: str, **more: Any) -> list[str]:
    """The words of an `evaldock run` with a cluster's configuration."""
    data = {
        "executor": "none",
        "backend": {"name": "Ray", "jobs_api_url": f"{head.url}/", "shared_dir": str(shared_root(shared))},
        "preflight": {"required_node_labels": {"zone": "nowhere"}, "min_cluster_resources": {"cpu": 1}},
        "target": {"api_endpoint": {"model_id": "stand-in", "url": url}},
        "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 2, **more}}]},
    }
    (folder / "cluster.yaml").write_text(json.dumps(data))
    return [
        *("run", "--config-dir", str(folder), "--config-name", "cluster"),
        *("--catalog", str(HARNESSES.parent), "--output-dir", str(folder / "runs")),
    ]


def test_a_run_is_looked_at_followed_and_read(ray_head: RayHead, shared: Shared, tmp_path: Path) -> None:
    with standin(tmp_path) as url:
        ran = evaldock(*configured(tmp_path, ray_head, shared, url))
    assert ran.code == 0, ran.err
    assert "preflight.required_node_labels: no node has zone=nowhere; there are zone=here" in ran.err
    key = ran.out.splitlines()[1].split()[0]
    assert ran.out.splitlines()[1].split()[1:] == ["succeeded", "2/2", "quickcheck.chat", "stand-in"]
    read = evaldock("logs", key)
    assert (read.code, "2 of 2 items passed" in read.out) == (0, True)
    (job,) = evaldock("status", key[:16], "--json").json
    last = (Path(job["directory"]) / "logs" / "ray.log").read_text().splitlines()[-1]
    assert last == f"evaldock: evaldock-{key}-1 is SUCCEEDED, exit code 0"


def test_another_machine_takes_a_run_over_and_ends_it(
    ray_head: RayHead, shared: Shared, tmp_path: Path, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher is killed; its handle is all that is left of it."""
    words = configured(tmp_path, ray_head, shared, slow)
    launcher = subprocess.Popen(
        [sys.executable, "-m", "catalog.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
    )
    cluster = Cluster(ray_head.url)

    def running() -> str | None:
        for file in tmp_path.glob("runs/*/events.jsonl"):
            identity = json.loads(file.read_text().splitlines()[0])["submission_id"]
            job = cluster.job(identity)
            if job is not None and job["status"] == "RUNNING":
                return str(identity)
        return None

    try:
        identity = until(running, "the job runs")
    finally:
        launcher.kill()
        launcher.wait()
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "another-state"))
    (handle,) = tmp_path.glob("runs/*/run.json")
    adopted = evaldock("adopt", handle)
    assert adopted.code == 0, adopted.err
    assert adopted.out.splitlines()[1].split()[1] in ("queued", "running")
    killed = evaldock("kill", handle.parent.name)
    assert killed.out == f"{handle.parent.name}: 1 of 1 jobs cancelled\n"
    job = cluster.job(identity)
    assert job is not None
    assert job["status"] == "STOPPED"
    events = [json.loads(line) for line in (handle.parent / "events.jsonl").read_text().splitlines()]
    assert [(each["event"], each.get("exit_code")) for each in events] == [
        ("submitted", None),
        ("terminal", 143),
    ]


def test_a_cluster_that_is_too_small_is_refused_before_anything_is_recorded(
    ray_head: RayHead, shared: Shared, tmp_path: Path, state: Path
) -> None:
    words = configured(tmp_path, ray_head, shared, "http://127.0.0.1:9/v1")
    ran = evaldock(*words, "preflight.min_cluster_resources.gpu=4")
    assert (ran.code, ran.out) == (5, "")
    assert "preflight.min_cluster_resources.gpu: 4 wanted, the cluster has 0" in ran.err
    assert not (tmp_path / "runs").exists()
    dry = evaldock(*words, "preflight.min_cluster_resources.gpu=4", "--dry-run")
    assert dry.code == 0, dry.err
