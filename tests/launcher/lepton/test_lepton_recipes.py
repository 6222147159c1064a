"""Recipes and pipelines on a workspace: code that comes along, replicas that meet, results read on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from running import evaldock
from services.lepton import Lepton

PROFILE = """\
[cloud]
executor = "lepton"
resource_shape = "cpu.small"
image = "registry.example/python@sha256:{digest}"
output_dir = "{root}"
"""
MOUNT = 'mounts = [{{ from = "node-nfs:shared", path = "/runs", mount_path = "{root}" }}]\n'
FIRST = """\
# /// script
# [tool.runspec]
# setup = "export PREPARED=yes"
# [tool.runspec.run]
# launch = "python"
# ///
import os
from pathlib import Path

from beside import word

Path(os.environ["EVALDOCK_RESULTS"], "said").write_text(f"{word()} {os.environ['PREPARED']}")
"""
SECOND = """\
# /// script
# [tool.runspec]
# [tool.runspec.run]
# launch = "python"
# ///
import os
from pathlib import Path

before = Path(os.environ["EVALDOCK_INPUT_FIRST"], "said").read_text()
Path(os.environ["EVALDOCK_RESULTS"], "answer").write_text(f"{before}, and so on")
"""
TORCHRUN = """\
# /// script
# [tool.runspec]
# setup = '''
# bin=$(mktemp -d)
# printf '#!/bin/sh\\necho "on $LEPTON_JOB_WORKER_INDEX: $*"\\n' >"$bin/torchrun"
# chmod +x "$bin/torchrun"
# PATH=$bin:$PATH
# '''
# [tool.runspec.resources]
# nodes = 2
# gpus_per_node = 0
# [tool.runspec.run]
# launch = "torchrun"
# ///
"""
PIPELINE = """\
[[step]]
name = "first"
recipe = "first.py"

[[step]]
name = "second"
recipe = "second.py"
needs = ["first"]
"""


@pytest.fixture
def project(lepton: Lepton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\nname = 'project'\n")
    (folder / "beside.py").write_text("def word():\n    return 'imported'\n")
    for name, text in (("first", FIRST), ("second", SECOND), ("spread", TORCHRUN)):
        (folder / f"{name}.py").write_text(text)
    (folder / "pipeline.toml").write_text(PIPELINE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    return folder


def profile(project: Path, *, mounted: bool) -> None:
    text = PROFILE + (MOUNT if mounted else "")
    (project / "env.toml").write_text(text.format(root=project.parent / "container", digest="1" * 64))


def test_a_recipe_brings_its_code_along(project: Path) -> None:
    profile(project, mounted=False)
    ran = evaldock("run", "first.py", "--profile", "cloud", "--json")
    assert ran.code == 0, ran.err + ran.out
    (job,) = ran.json["jobs"]
    assert Path(job["directory"], "artifacts", "said").read_text() == "imported yes"


def test_a_step_reads_what_the_one_before_left_on_a_mount(project: Path) -> None:
    profile(project, mounted=True)
    ran = evaldock("run", "pipeline.toml", "--profile", "cloud", "--json")
    assert ran.code == 0, ran.err + ran.out
    second = ran.json["jobs"][1]
    assert Path(second["directory"], "artifacts", "answer").read_text() == "imported yes, and so on"


def test_without_a_mount_it_is_told_that_nothing_is_shared(project: Path, lepton: Lepton) -> None:
    profile(project, mounted=False)
    ran = evaldock("run", "pipeline.toml", "--profile", "cloud", "--dry-run")
    assert ran.code != 0
    assert "reads the results of other jobs, and they share no storage with it" in ran.err
    assert lepton.look()["counted"] == {}


def test_replicas_that_torchrun_joins_meet_at_the_first(project: Path, lepton: Lepton) -> None:
    profile(project, mounted=False)
    ran = evaldock("run", "spread.py", "--profile", "cloud", "--json")
    assert ran.code == 0, ran.err + ran.out
    (job,) = lepton.look()["jobs"].values()
    assert (job["spec"]["completions"], job["spec"]["intra_job_communication"]) == (2, True)
    lines = sorted(evaldock("logs", ran.json["run"]).out.splitlines())
    assert [line.partition(" --")[0] for line in lines] == ["[0] on 0:", "[1] on 1:"]
    assert all("--nnodes=2" in line and "--rdzv_endpoint=worker-0.jobs:29500" in line for line in lines)
    assert json.loads(Path(ran.json["jobs"][0]["directory"], "exit.json").read_text())["exit_code"] == 0
