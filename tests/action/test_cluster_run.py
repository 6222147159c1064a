"""A run on a cluster that nothing but the step's own variables leads to, from one runner to another."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION, Repository
from launched import until
from launcher.runs.open_runs import BRANCH
from services.shared import Shared
from services.slurm import Slurm
from services.sshd import Sshd

pytestmark = pytest.mark.service("pypi", "node")

PROFILE = """\
[cluster]
executor = "slurm"
hostname = "127.0.0.1"
port = {port}
username = "{user}"
output_dir = "{folder}"
container_runtime = "none"
partition = "debug"
"""


@pytest.fixture
def cluster(slurm: Slurm, sshd: Sshd, repository: Repository, tmp_path: Path, shared: Shared) -> Path:
    """The folder that its nodes share. The catalog's repository has a profile for it."""
    root = tmp_path / "cluster"
    (root / ".evaldock").mkdir(parents=True)
    environments = shared.folder / "node-environments"
    environments.mkdir(exist_ok=True)
    (root / ".evaldock" / "environments").symlink_to(environments)
    with suppress(RuntimeError):  # made by an earlier test
        slurm.run("scontrol", "create", "PartitionName=debug", "Nodes=n1,n2", "MaxTime=INFINITE")
    profile = PROFILE.format(port=sshd.port, user=sshd.user, folder=root)
    (repository.clone / "env.toml").write_text(profile)
    repository.commit(message="A cluster")
    return root


def test_a_run_on_a_cluster_outlasts_its_workflow(
    cluster: Path, sshd: Sshd, make_runner: Callable[[str], Runner], repository: Repository, model: str
) -> None:
    credentials = {
        "EVALDOCK_SSH_KEY": sshd.key.read_text(),
        "EVALDOCK_SSH_KNOWN_HOSTS": f"[127.0.0.1]:{sshd.port} {sshd.public_host_key}",
    }
    first = make_runner("first")
    first.environ |= {**credentials, "RUNNER_ENVIRONMENT": "github-hosted", "HOME": str(first.folder)}
    given = {"tasks": "quickcheck.chat", "model-id": "m", "url": model, "profile": "cluster", "limit": "2"}
    left = first.action(ACTION, {**given, "mode": "detach", "publish": "commit"})
    assert left.outcome == "success", left.log
    assert (left.outputs["state"], left.annotations) == ("running", [])
    until(lambda: list(cluster.rglob("exit.json")), "the job ends")
    # The first runner is gone, with all that it had.
    second = make_runner("second")
    second.environ |= {**credentials, "HOME": str(second.folder)}
    ran = second.action(ACTION / "collect", {})
    assert ran.outcome == "success", ran.log
    assert json.loads(ran.outputs["closed"]) == [left.outputs["run-id"]]
    (record,) = json.loads(ran.outputs["records"])
    assert record in repository.files()
    assert "runs/" not in "".join(repository.files(BRANCH))
    key = sshd.key.read_bytes().strip()
    for runner in (first, second):
        assert not [f for f in runner.folder.rglob("*") if f.is_file() and key in f.read_bytes()]


def test_a_run_that_is_waited_for_can_be_found_meanwhile(
    cluster: Path, sshd: Sshd, runner: Runner, repository: Repository, model: str
) -> None:
    runner.environ |= {
        "EVALDOCK_SSH_KEY": sshd.key.read_text(),
        "EVALDOCK_SSH_KNOWN_HOSTS": f"[127.0.0.1]:{sshd.port} {sshd.public_host_key}",
        "HOME": str(runner.folder),
    }
    seen: list[str] = []

    def watch() -> bool:
        """Asked while the step runs; it never cancels."""
        seen.extend(handles(repository))
        return False

    runner.cancel = watch
    given = {"tasks": "quickcheck.chat", "model-id": "m", "url": model, "profile": "cluster", "limit": "2"}
    ran = runner.action(ACTION, {**given, "publish": "commit"})
    assert ran.outcome == "success", ran.log
    assert set(seen) == {f"runs/{ran.outputs['run-id']}.json"}
    assert handles(repository) == []
    assert len(json.loads(ran.outputs["records"])) == 1


def handles(repository: Repository) -> list[str]:
    return repository.files(BRANCH) if BRANCH in repository.branches() else []


def test_a_host_that_is_not_known_is_not_logged_in_to(
    cluster: Path, sshd: Sshd, runner: Runner, model: str
) -> None:
    runner.environ |= {"EVALDOCK_SSH_KEY": sshd.key.read_text(), "HOME": str(runner.folder)}
    given = {"tasks": "quickcheck.chat", "model-id": "m", "url": model, "profile": "cluster"}
    missing = runner.action(ACTION, given)
    assert "EVALDOCK_SSH_KNOWN_HOSTS isn't" in missing.said("error")[0]
    runner.environ["EVALDOCK_SSH_KNOWN_HOSTS"] = "other.example " + sshd.public_host_key
    ran = runner.action(ACTION, given)
    assert ran.outcome == "failure"
    assert "is not known" in " ".join(ran.said("error"))
