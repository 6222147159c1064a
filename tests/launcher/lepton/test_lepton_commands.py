"""The commands as a user gives them, with quickcheck on a workspace, in the words of the field's YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.backends.environments import ensure
from planned_runs import HARNESSES
from running import evaldock
from services.lepton import Lepton
from services.processes import free_port
from standins import standin

CATALOG = HARNESSES.parent
CONFIGURATION = """\
defaults:
  - execution: lepton
  - deployment: none
  - _self_
execution:
  resource_shape: cpu.small
  num_replicas: 1
  output_dir: {root}
  env_vars:
    NGC_API_KEY: NGC_API_KEY
    HF_TOKEN: HF_TOKEN
target:
  api_endpoint:
    model_id: stand-in
    url: {url}
evaluation:
  tasks:
    - name: quickcheck.chat
      container: registry.example/evals/quickcheck@sha256:{digest}
      params: {{limit_samples: 2}}
"""


@pytest.fixture
def project(lepton: Lepton, tmp_path: Path, environments: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVALDOCK_CACHE", str(environments))
    programs = ensure(["./harnesses/quickcheck"], HARNESSES.parent) / "bin"
    secrets = {"NGC_API_KEY": "ngc-secret", "HF_TOKEN": "hf-secret"}
    lepton.change(settings={"path": [str(programs)], "secrets": secrets})
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    return folder


def configured(project: Path, url: str) -> None:
    root = project.parent / "container"
    (project / "run.yaml").write_text(CONFIGURATION.format(root=root, url=url, digest="1" * 64))


def test_a_run_from_the_plan_to_its_scores(project: Path, lepton: Lepton) -> None:
    with standin(project.parent) as url:
        configured(project, url)
        given = ("--catalog", CATALOG, "--config-name", "run")
        shown = evaldock("run", *given, "--dry-run")
        assert shown.code == 0, shown.err
        assert "secret_name_ref: NGC_API_KEY" in shown.out
        assert str(project) not in shown.out
        assert lepton.look()["counted"] == {}
        ran = evaldock("run", *given, "--json")
        assert ran.code == 0, ran.err
    run_id = ran.json["run"]
    (job,) = ran.json["jobs"]
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    status = evaldock("status", run_id, "--json")
    assert [each["state"] for each in status.json] == ["succeeded"]
    logs = evaldock("logs", run_id)
    assert "2 of 2 items passed" in logs.out
    assert "EVALDOCK RESULTS" not in logs.out
    # Values of secrets are nowhere on this machine.
    for path in project.parent.rglob("*"):
        if path.is_file() and not path.is_relative_to(project.parent / "container"):
            text = path.read_bytes()
            assert b"ngc-secret" not in text
            assert lepton.token.encode() not in text


def test_a_detached_run_is_stopped_from_elsewhere(project: Path, lepton: Lepton) -> None:
    with standin(project.parent, "--latency", "2") as url:
        configured(project, url)
        given = ("--catalog", CATALOG, "--config-name", "run", "--json")
        ran = evaldock("run", *given, "--detach")
        assert ran.code == 0, ran.err
        killed = evaldock("kill", ran.json["run"])
        assert killed.out == f"{ran.json['run']}: 1 of 1 jobs cancelled\n"
    states = {job["status"]["state"] for job in lepton.look()["jobs"].values()}
    assert states <= {"Stopped"}


def test_a_workspace_that_can_not_be_reached_starts_nothing(
    project: Path, lepton: Lepton, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(project, "http://127.0.0.1:9/v1")
    monkeypatch.setenv("LEPTON_WORKSPACE_URL", f"http://127.0.0.1:{free_port()}")
    ran = evaldock("run", "--catalog", CATALOG, "--config-name", "run")
    assert ran.code == 4
    assert "nothing was started: Lepton can't be reached" in ran.err


def test_a_run_is_adopted_on_another_machine(
    project: Path, lepton: Lepton, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standin(project.parent) as url:
        configured(project, url)
        ran = evaldock("run", "--catalog", CATALOG, "--config-name", "run", "--json")
    assert ran.code == 0, ran.err
    handle = Path(ran.json["directory"]) / "run.json"
    other = project.parent / "other"
    other.mkdir()
    (other / "run.json").write_text(handle.read_text())
    monkeypatch.setenv("EVALDOCK_STATE", str(project.parent / "other-state"))
    assert evaldock("adopt", other).code == 0
    (job,) = json.loads(evaldock("status", ran.json["run"], "--json").out)
    assert job["state"] == "succeeded"
    assert list(other.glob("jobs/*/artifacts/results.yml"))
