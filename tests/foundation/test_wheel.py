"""What users install: the built wheel, in an environment that has nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the hatchling of this environment: no download."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)),
        ],
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_what_the_packages_need_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    version = wheel.name.split("-")[1]
    assert folders == {"catalog", "generator", "launcher", f"evaldock-{version}.dist-info"}
    for package in folders - {f"evaldock-{version}.dist-info"}:
        assert f"{package}/py.typed" in names
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "catalog", "generator", "launcher"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert [name for name in tracked if (ROOT / name).exists() and name not in names] == []


def test_it_works_where_nothing_else_is_installed(wheel: Path, tmp_path: Path) -> None:
    """Only the light requirements: no Sphinx, no oras, no docker."""
    venv = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv", "--no-config", "--quiet", "--cache-dir", str(ROOT / "build" / "uv")]
    into = ["--python", str(venv / "bin" / "python")]
    locked = ["--require-hashes", "-r", str(ROOT / "requirements" / "runtime.txt")]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(venv)], check=True)
    subprocess.run([*uv, "pip", "install", *into, *locked], check=True)
    subprocess.run([*uv, "pip", "install", *into, "--no-deps", str(wheel)], check=True)

    def evaldock(*arguments: str) -> str:
        done = subprocess.run(
            [str(venv / "bin" / "evaldock"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Examples:" in evaldock("--help")
    assert isinstance(json.loads(evaldock("ls", "harnesses", "--json")), list)
    evaldock("init", "mine")
    assert evaldock("check", "--catalog", "mine")
    assert "quickcheck.chat" in [task["id"] for task in json.loads(evaldock("ls", "tasks", "--json"))]
    # The harness that comes with it, as a process, as far as an endpoint that nobody is at.
    nowhere = ("--model-id", "m", "--url", "http://127.0.0.1:9/v1", "--backend", "process", "--limit", "1")
    done = subprocess.run(
        [
            str(venv / "bin" / "evaldock"),
            "run",
            "quickcheck.chat",
            *nowhere,
            "-o",
            "execution.output_dir=runs",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    (log,) = (tmp_path / "runs").glob("*/jobs/*/logs/job.log")
    assert done.returncode == 1, done.stderr
    assert "0 of 1 items passed, 1 without a reply" in log.read_text()
