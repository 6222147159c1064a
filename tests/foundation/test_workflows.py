"""The GitHub workflows: valid, pinned, and allowed as little as possible."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
_PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: str(path.stem))
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def parsed(workflow: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text())
    return content


def test_it_is_a_workflow(workflow: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", workflow],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_to_a_commit(workflow: Path) -> None:
    uses = [line.strip().removeprefix("- ") for line in workflow.read_text().splitlines() if "uses:" in line]
    assert [line for line in uses if not _PINNED.fullmatch(line) and "uses: ./" not in line] == []


def test_nothing_is_allowed_by_default_and_little_per_job(workflow: Path) -> None:
    content = parsed(workflow)
    assert content["permissions"] == {}
    for name, job in content["jobs"].items():
        assert "timeout-minutes" in job, f"{name} may run for six hours"
        for step in job["steps"]:
            if str(step.get("uses", "")).startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_scripts_take_expressions_from_their_environment_only(workflow: Path) -> None:
    for job in parsed(workflow)["jobs"].values():
        assert [step["run"] for step in job["steps"] if "${{" in step.get("run", "")] == []


def test_one_job_waits_for_all_others() -> None:
    jobs = parsed(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert set(jobs["passed"]["needs"]) == set(jobs) - {"passed"}
