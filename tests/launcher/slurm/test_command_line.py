"""The commands that people type, with a cluster behind them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launched import Place
from standins import standin

pytestmark = pytest.mark.timeout(600)


def evaldock(*words: str, folder: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "catalog.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=500,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_run_status_logs_and_info(on_slurm: Place, tmp_path: Path) -> None:
    with standin(tmp_path) as url:
        config: dict[str, Any] = {
            "execution": dict(on_slurm.configuration()),
            "target": {"api_endpoint": {"model_id": "m", "url": f"{url}/chat/completions"}},
            "evaluation": {"tasks": [{"name": "quickcheck.chat", "params": {"limit_samples": 2}}]},
        }
        (tmp_path / "on-slurm.yaml").write_text(yaml.safe_dump(config))
        evaldock("run", "--config-dir", ".", "--config-name", "on-slurm", folder=tmp_path)
    (run,) = (tmp_path / "evaldock-runs").iterdir()
    (row,) = json.loads(evaldock("status", run.name, "--json", folder=tmp_path))
    assert (row["state"], row["task"]) == ("succeeded", "quickcheck.chat")
    assert "2 of 2 items passed" in evaldock("logs", row["key"], folder=tmp_path)
    assert (run / "jobs" / "000-quickcheck.chat-m" / "artifacts" / "results.yml").is_file()
