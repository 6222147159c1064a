"""One recipe and one configuration in several profiles: what it finds there is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from git_commands import git
from planned_runs import HARNESSES
from running import evaldock

Write = Callable[[str], Path]
pytestmark = pytest.mark.timeout(600)  # the image is made once, on an empty cache

RECIPE = """\
# /// script
# [tool.runspec]
# name = "team/read"
# [tool.runspec.run]
# launch = "python"
# ///
import json, os, sys
from pathlib import Path

config = json.loads(Path(os.environ["EVALDOCK_CONFIG"]).read_text())
told = {
    "git": Path(config["questions"]).read_text(),
    "artifact": Path(config["weights"], "a.bin").read_text(),
    "place": os.environ["PLACE"],
    "project": os.environ["WANDB_PROJECT"],
    "key": len(os.environ["WANDB_API_KEY"]) == 8,
    "number": config["number"],
}
if Path("/mounts/questions").exists():
    try:
        Path("/mounts/questions/new").touch()
    except OSError:
        told["read_only"] = True
Path(os.environ["EVALDOCK_RESULTS"], "told.json").write_text(json.dumps(told))
"""
CONFIG = """\
run: {number: 7}
questions: ${auto_mount:git+file://REPOSITORY@v1}/one.txt
weights: ${art:weights}
number: ${run.number}
"""
ENV = """\
[here]
executor = "process"
env = { PLACE = "process" }
[box]
executor = "docker"
image = "IMAGE"
execution.network = "none"
env = { PLACE = "docker" }
[wandb]
project = "scores"
api_key_name = "MY_WANDB"
[artifacts]
root = "artifacts"
"""


@pytest.fixture(params=["here", pytest.param("box", marks=pytest.mark.service("docker"))])
def profile(
    request: pytest.FixtureRequest, project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A project with a recipe, an artifact, a git repository beside it, and two profiles."""
    monkeypatch.setenv("MY_WANDB", "w-secret")
    contained = request.param == "box"
    image = request.getfixturevalue("harness_image")(HARNESSES / "quickcheck") if contained else "none"
    folder = project("")
    project(ENV.replace("IMAGE", image))
    repository = tmp_path / "questions.git"
    repository.mkdir()
    (repository / "one.txt").write_text("what?\n")
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    git(repository, "tag", "v1")
    (folder / "read.py").write_text(RECIPE)
    (folder / "config").mkdir()
    (folder / "config" / "default.yaml").write_text(CONFIG.replace("REPOSITORY", str(repository)))
    (folder / "weights").mkdir()
    (folder / "weights" / "a.bin").write_text("weights\n")
    assert evaldock("artifact", "put", "weights", "weights").code == 0
    name: str = request.param
    return name


def test_a_recipe_finds_the_same_everywhere(profile: str) -> None:
    ran = evaldock("run", "./read.py", "--profile", profile, "--json")
    assert ran.code == 0, ran.err
    run = Path(ran.json["directory"])
    (job,) = (run / "jobs").iterdir()
    contained = profile == "box"
    assert json.loads((job / "artifacts" / "told.json").read_text()) == {
        "git": "what?\n",
        "artifact": "weights\n",
        "place": "docker" if contained else "process",
        "project": "scores",
        "key": True,
        "number": 7,
        **({"read_only": True} if contained else {}),
    }
    kept = (run / "config.yaml").read_text()
    assert "WANDB_API_KEY: host:MY_WANDB" in kept
    assert ("questions: /mounts/questions/one.txt" in kept) is contained
    assert not [path for path in run.rglob("*") if path.is_file() and b"w-secret" in path.read_bytes()]


def test_a_dry_run_leaves_git_alone(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    ran = evaldock("run", "./read.py", "--profile", profile, "--dry-run")
    assert ran.code == 0, ran.err
    assert "${auto_mount:git+file://" in ran.out
