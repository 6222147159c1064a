"""What a step installs: the checkout that the action lies in, with what a backend needs, once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION, ROOT

INSTALLER = ACTION / "install.py"


def install(
    home: Path, *words: str, installer: Path = INSTALLER, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(installer), *words],
        env={**os.environ, "EVALDOCK_ACTION_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_step_runs_the_code_that_its_action_lies_in(
    runner: Runner, real_wheels: object, tmp_path: Path
) -> None:
    """`real_wheels` stands for PyPI, from where everything else comes."""
    del runner.environ["EVALDOCK_ACTION_PYTHON"]
    home, action = tmp_path / "home", checkout(tmp_path / "checkout")
    runner.environ["EVALDOCK_ACTION_HOME"] = str(home)
    ran = runner.action(action / "check", {})
    assert ran.outcome == "success", ran.log
    python = Path(ran.steps["install"]["outputs"]["python"])
    assert python.is_relative_to(home)
    with_docker = install(home, "add", "docker", installer=action / "install.py")
    assert with_docker.stdout.strip() == f"python: {python}", with_docker.stderr
    asked = "import docker, launcher.action, importlib.metadata as m; print(m.version('docker'))"
    said = subprocess.run(
        [python, "-I", "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    locked = (ROOT / "requirements" / "dev.txt").read_text()
    assert f"\ndocker=={said[0]} " in locked
    changed = python.stat().st_mtime_ns
    again = install(home, "install", installer=action / "install.py", EVALDOCK_NEEDS="docker process")
    assert (again.returncode, python.stat().st_mtime_ns) == (0, changed)
    without = install(home, "add", "lepton", installer=action / "install.py", PIP_NO_INDEX="1")
    assert without.returncode == 2
    assert "::error title=evaldock::" in without.stdout
    assert "pip" in without.stderr


def checkout(folder: Path) -> Path:
    """Of what an action of ours comes with; its actions."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("action", "catalog", "generator", "launcher", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder / "action"


def test_what_is_kept_for_the_next_workflow_is_named_by_what_it_is(tmp_path: Path) -> None:
    said = {
        needs: re.findall(r"key: (.*)", install(tmp_path, "prepare", EVALDOCK_NEEDS=needs).stdout)[0]
        for needs in ("", "docker", "slurm ray", "nothing-known $(touch pwned)")
    }
    assert len(set(said.values())) == 3
    assert said[""] == said["nothing-known $(touch pwned)"]
    assert "ray-slurm" in said["slurm ray"]
    other = install(tmp_path, "prepare", EVALDOCK_VERSION="1.0").stdout
    assert re.findall(r"key: (.*)", other)[0] not in said.values()


def test_each_step_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    made = [install(tmp_path, "prepare", RUNNER_TEMP=str(tmp_path)).stdout for _ in range(2)]
    folders = [Path(re.findall(r"folder: (.*)", each)[0]) for each in made]
    assert folders[0] != folders[1]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700, 0o700]


@pytest.mark.parametrize("version", ["", "1.2.3"])
def test_a_python_with_evaldock_is_used_as_it_is(tmp_path: Path, version: str) -> None:
    done = install(tmp_path, "install", EVALDOCK_ACTION_PYTHON="/their/python", EVALDOCK_VERSION=version)
    assert done.stdout == "python: /their/python\n"
    assert not (tmp_path / "pip").exists()
