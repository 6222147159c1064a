"""The same recipe on other machines: by SSH on a Slurm cluster, through the API of a Ray head."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from running import Ran, evaldock
from services.ray_head import RayHead
from services.slurm import Slurm
from services.sshd import Sshd

Write = Callable[..., Path]
pytestmark = pytest.mark.timeout(600)
PROFILE = """
[cluster]
executor = "slurm"
hostname = "cluster"
output_dir = "{root}"
partition = "main"
container_runtime = "none"

[head]
executor = "ray"
dashboard_url = "{url}"
node_dir = "{root}"
"""
METADATA = ("[tool.runspec]", 'setup = "export PREPARED=yes"', "[tool.runspec.run]", 'launch = "python"')
BODY = """
import json, os, sys
from pathlib import Path

from beside import helper

config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
told = {"size": config["size"], "setup": os.environ["PREPARED"], "helper": helper(), "here": os.getcwd()}
Path(os.environ["EVALDOCK_RESULTS"], "told.json").write_text(json.dumps(told))
sys.exit(config.get("code", 0))
"""
# What torchrun would be told; torch itself is no part of these tests.
STANDIN = """[tool.runspec]
setup = '''
bin=$(mktemp -d)
printf '#!/bin/sh\\necho "on $SLURM_PROCID: $*"\\n' >"$bin/torchrun"
chmod +x "$bin/torchrun"
PATH=$bin:$PATH
'''
[tool.runspec.resources]
nodes = 2
gpus_per_node = 0"""


def profile(project: Path, root: Path, url: str = "http://127.0.0.1:9") -> None:
    root.mkdir()
    (project / "env.toml").write_text(PROFILE.format(root=root, url=url))


def check(ran: Ran, project: Path, root: Path) -> None:
    assert ran.code == 0, ran.err
    (job,) = ran.json["jobs"]
    told = json.loads(Path(job["directory"], "artifacts", "told.json").read_bytes())
    here = Path(told.pop("here"))
    assert told == {"size": 7, "setup": "yes", "helper": "imported"}
    assert here.parent == root / ".evaldock" / "code"
    assert not here.is_relative_to(project)


@pytest.fixture
def tell(recipe: Write, project: Path) -> None:
    recipe("tell", *METADATA, body=BODY)
    (project / "beside.py").write_text("def helper():\n    return 'imported'\n")


def test_on_slurm_by_ssh(tell: None, project: Path, tmp_path: Path, slurm: Slurm, sshd: Sshd) -> None:
    profile(project, tmp_path / "cluster")
    ran = evaldock("run", "./tell.py", "--profile", "cluster", "size=7", "--json")
    check(ran, project, tmp_path / "cluster")
    ran = evaldock("run", "./tell.py", "--profile", "cluster", "size=7", "code=3", "--json")
    (job,) = ran.json["jobs"]
    assert (ran.code, job["state"], job["exit_code"]) == (1, "failed", 3)


def test_torchrun_is_started_on_every_node(
    recipe: Write, project: Path, tmp_path: Path, slurm: Slurm, sshd: Sshd
) -> None:
    profile(project, tmp_path / "cluster")
    recipe("spread", *STANDIN.split("\n"))
    ran = evaldock("run", "./spread.py", "--profile", "cluster", "--json")
    assert ran.code == 0, ran.err
    (job,) = ran.json["jobs"]
    folder = Path(job["directory"])
    logs = [folder / "logs" / "job.log", folder / "nodes" / "1" / "logs" / "job.log"]
    for number, log in enumerate(logs):
        (line,) = [line for line in log.read_text().splitlines() if line.startswith("on ")]
        assert line.startswith(f"on {number}: --nnodes=2 --nproc_per_node=1 --rdzv_backend=c10d")
        assert f"--rdzv_id={job['key']} --rdzv_endpoint=" in line


def test_a_driver_has_a_ray_cluster_on_the_nodes_of_its_slurm_job(
    recipe: Write, project: Path, tmp_path: Path, slurm: Slurm, sshd: Sshd
) -> None:
    profile(project, tmp_path / "cluster")
    recipe(
        "driver",
        "[tool.runspec]",
        "[tool.runspec.run]",
        'launch = "ray"',
        "[tool.runspec.resources]",
        "nodes = 2",
        "gpus_per_node = 0",
        body="import ray\nray.init(logging_level='ERROR')\nprint('nodes:', len(ray.nodes()))",
    )
    given = [f"execution.ray_bin={Path(sys.executable).parent}", "execution.cpus_per_task=2"]
    ran = evaldock("run", "./driver.py", "--profile", "cluster", *given, "--json")
    assert ran.code == 0, ran.err
    (job,) = ran.json["jobs"]
    log = Path(job["directory"], "logs", "job.log").read_text()
    assert [line for line in log.splitlines() if line.startswith("nodes:")] == ["nodes: 2"]


def test_on_ray_without_shared_storage(tell: None, project: Path, tmp_path: Path, ray_head: RayHead) -> None:
    profile(project, tmp_path / "node", ray_head.url)
    ran = evaldock("run", "./tell.py", "--profile", "head", "size=7", "--json")
    check(ran, project, tmp_path / "node")


def test_a_pipeline_on_slurm(recipe: Write, project: Path, tmp_path: Path, slurm: Slurm, sshd: Sshd) -> None:
    profile(project, tmp_path / "cluster")
    python = ("[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    recipe("one", *python, body="import os; open(os.environ['EVALDOCK_RESULTS'] + '/a', 'w').write('first')")
    recipe(
        "two", *python, body="import os; print(open(os.environ['EVALDOCK_INPUT_ONE'] + '/a').read(), 'read')"
    )
    steps = ('name = "one"\nrecipe = "one.py"', 'name = "two"\nrecipe = "two.py"\nneeds = ["one"]')
    (project / "pipeline.toml").write_text("".join(f"[[step]]\n{step}\n" for step in steps))
    ran = evaldock("run", "pipeline.toml", "--profile", "cluster", "--json")
    assert ran.code == 0, ran.err
    assert "first read" in Path(ran.json["jobs"][1]["directory"], "logs", "job.log").read_text()
