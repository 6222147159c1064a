"""A repository on a remote of this machine, with nothing but a catalog, and a runner to run actions in it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from action.composite import Runner
from action.foreign_actions import FOREIGN
from git_commands import git
from running import evaldock
from services.github_packages import GitHubPackages
from services.shared import Shared
from standins import standin

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action"
MAPPING = """\
[quickcheck]
container = "oci:images/quickcheck:1.0"
packages = ["./harnesses/quickcheck"]
"""


@dataclass(frozen=True, slots=True)
class Repository:
    """`upstream` is bare; `clone` is its author's."""

    upstream: Path
    clone: Path

    def commit(self, *names: str, message: str = "Change") -> None:
        git(self.clone, "add", "--", *(names or ["."]))
        git(self.clone, "commit", "--quiet", "--message", message)
        git(self.clone, "push", "--quiet", "origin", "HEAD")

    def files(self, branch: str = "main") -> list[str]:
        return git(self.upstream, "ls-tree", "-r", "--name-only", branch).splitlines()

    def branches(self) -> list[str]:
        return git(self.upstream, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()

    def log(self, branch: str = "main") -> list[str]:
        return git(self.upstream, "log", "--format=%s", branch).splitlines()


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the harness quickcheck and its image."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.copytree(ROOT / "catalog" / "harnesses" / "quickcheck", folder / "harnesses" / "quickcheck")
    shutil.copytree(ROOT / "catalog" / "images" / "quickcheck", folder / "images" / "quickcheck")
    (folder / "mapping.toml").write_text(MAPPING.replace(":1.0", ":1.0.0"))
    return folder


@pytest.fixture
def repository(tmp_path: Path, packed: Path) -> Repository:
    """Of somebody who has a mapping.toml, a harness and nothing else."""
    git(tmp_path, "init", "--quiet", "--bare", "-b", "main", "upstream.git")
    git(tmp_path, "clone", "--quiet", "upstream.git", "author")
    made = Repository(tmp_path / "upstream.git", tmp_path / "author")
    shutil.copytree(packed, made.clone, dirs_exist_ok=True)
    made.commit(message="A catalog")
    return made


@pytest.fixture
def synced(repository: Repository) -> Repository:
    """With its catalog."""
    assert evaldock("sync", "--catalog", repository.clone).code == 0
    repository.commit(message="Read the images")
    return repository


@pytest.fixture
def make_runner(
    tmp_path: Path, repository: Repository, github_packages: GitHubPackages, shared: Shared
) -> Callable[[str], Runner]:
    """A runner with a checkout of its own, as another machine has it. Environments are shared by the run's
    tests: making one takes longer than using it."""

    def make(name: str) -> Runner:
        git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository.upstream}", f"{name}/work")
        return Runner(
            packages=github_packages,
            folder=tmp_path / name / "runner",
            workspace=tmp_path / name / "work",
            own=ROOT,
            github={
                "repository": "team/evals",
                "repository_url": f"file://{repository.upstream}",
                "server_url": "https://github.example",
                "api_url": "http://127.0.0.1:9",
                "token": "token-of-the-job",
                "sha": git(repository.upstream, "rev-parse", "main").strip(),
                "ref": "refs/heads/main",
                "ref_name": "main",
                "ref_type": "branch",
                "event_name": "workflow_dispatch",
                "run_id": "4711",
            },
            environ={
                # The code as it lies here; that installing works has a test of its own.
                "EVALDOCK_ACTION_PYTHON": sys.executable,
                "EVALDOCK_CACHE": str(shared.folder / "environments"),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
            },
            foreign=dict(FOREIGN),
            repositories={"evaldock/evaldock": ROOT},
        )

    return make


@pytest.fixture
def runner(make_runner: Callable[[str], Runner]) -> Runner:
    return make_runner("runner")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a model that knows everything."""
    with standin(tmp_path_factory.mktemp("model")) as url:
        yield url
