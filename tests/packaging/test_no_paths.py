"""What is sent to another machine names nothing of this one: no path, no user, no host."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalog.cli import root
from launcher.code.harness_code import harness_code
from launcher.code.packaging import write
from own_names import told

IMAGE = f"registry.example/evals/chat@sha256:{'0' * 64}"
CATALOG = Path(__file__).parents[2] / "catalog"
RECIPE = f'''# /// script
# [tool.runspec]
# schema = "1"
# name = "nightly/score"
# image = "{IMAGE}"
# setup = "echo ready"
# [tool.runspec.run]
# launch = "python"
# [tool.runspec.resources]
# nodes = 1
# gpus_per_node = 0
# ///
import helpers
'''
PROFILES = """
[slurm-none]
executor = "slurm"
hostname = "cluster"
output_dir = "/shared/evals"
container_runtime = "none"

[slurm-pyxis]
extends = "slurm-none"
container_runtime = "pyxis"

[slurm-apptainer]
extends = "slurm-none"
container_runtime = "apptainer"

[slurm-docker]
extends = "slurm-none"
container_runtime = "docker"

[ray-shared]
executor = "ray"
dashboard_url = "http://head:8265"
shared_dir = "/shared/evals"

[ray-alone]
executor = "ray"
dashboard_url = "http://head:8265"

[lepton]
executor = "lepton"
resource_shape = "cpu.small"
output_dir = "/evals"
mounts = [{ from = "node-nfs:shared", path = "/evals", mount_path = "/evals" }]
"""
NAMES = ["slurm-none", "slurm-pyxis", "slurm-apptainer", "slurm-docker", "ray-shared", "ray-alone", "lepton"]
TASK = f"""
evaluation:
  tasks:
    - name: quickcheck.chat
      container: {IMAGE}
target: {{api_endpoint: {{url: "https://models.example/v1", model_id: m}}}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On a machine whose folders nobody else has."""
    folder = tmp_path / "launching-machine" / "project"
    (folder / "recipes" / "config").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    (folder / "env.toml").write_text(PROFILES)
    (folder / "run.yaml").write_text(TASK)
    (folder / "recipes" / "score.py").write_text(RECIPE)
    (folder / "recipes" / "config" / "default.yaml").write_text("limit: 3\n")
    monkeypatch.chdir(folder)
    return folder


def sent(*arguments: str) -> dict[str, Any]:
    answer = CliRunner().invoke(root(), ["run", *arguments, "--dry-run", "--json"])
    assert answer.exit_code == 0, answer.exception or answer.stderr
    data: dict[str, Any] = json.loads(answer.stdout)
    assert data["submissions"]
    return data


def check(data: dict[str, Any], project: Path) -> None:
    text = json.dumps(data["submissions"]) + json.dumps(data["plan"]["jobs"])
    # `root` may be meant of any machine.
    assert set(told(text, project.parent, Path.home(), CATALOG)) - {"root"} == set()


@pytest.mark.parametrize("profile", NAMES)
def test_of_a_recipe(project: Path, profile: str) -> None:
    data = sent("./recipes/score.py", "--profile", profile)
    assert data["code"][0]["files"] == [
        "pyproject.toml",
        "recipes/config/default.yaml",
        "recipes/score.py",
        "run.yaml",
    ]
    check(data, project)


@pytest.mark.parametrize("profile", NAMES)
def test_of_a_task(project: Path, profile: str) -> None:
    data = sent("--config-name", "run", "--profile", profile)
    shipped = [file for tree in data["code"] for file in tree["files"]]
    contained = any(job["image"] for job in data["plan"]["jobs"])
    assert ("harnesses/quickcheck/pyproject.toml" in shipped) is not contained
    check(data, project)


def test_of_the_archive_itself(tmp_path: Path) -> None:
    tree = harness_code(CATALOG, ["./harnesses/quickcheck"])
    assert tree is not None
    data = gzip.decompress(write(tree, tmp_path).read_bytes())
    assert told(data, CATALOG, tmp_path) == []
