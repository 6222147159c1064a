"""The GitHub workflows and actions: valid, pinned, and allowed as little as possible."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.github_packages import GitHubPackages

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / "action").rglob("action.yml"))
_PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
# "$/" is this repository at the commit that runs.
_OWN = "uses: $/"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=WORKFLOWS, ids=name_of)
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(params=ACTIONS, ids=name_of)
def action(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(params=[*WORKFLOWS, *ACTIONS], ids=name_of)
def either(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def parsed(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def triggers(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as a truth value.
    content: dict[Any, Any] = yaml.safe_load(path.read_text())
    found: dict[str, Any] = content[True]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    content = parsed(path)
    if "runs" in content:
        yield from content["runs"]["steps"]
    for job in content.get("jobs", {}).values():
        yield from job.get("steps", ())


def test_it_fits_the_schema(either: Path) -> None:
    kind = "actions" if either in ACTIONS else "workflows"
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.github-{kind}", either],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_github_finds_nothing_wrong(either: Path, github_packages: GitHubPackages) -> None:
    """Unknown keys, steps, inputs and outputs that aren't there, expressions that are none."""
    assert github_packages.problems(name_of(either), either.read_text()) == []


def test_github_finds_what_is_wrong(github_packages: GitHubPackages) -> None:
    text = (ROOT / "action" / "action.yml").read_text()
    spoilt = text.replace("      shell: bash\n", "", 1)
    assert "shell" in github_packages.problems("action/action.yml", spoilt)[0]
    workflow = (ROOT / ".github" / "workflows" / "evaluate.yml").read_text()
    gone = workflow.replace("steps.run.outputs.run-id", "step.run.outputs.run-id")
    assert github_packages.problems(".github/workflows/evaluate.yml", gone) != []


def test_an_audit_finds_nothing() -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", "--strict-collection", ROOT / ".github", ROOT / "action"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_to_a_commit(either: Path) -> None:
    uses = [line.strip().removeprefix("- ") for line in either.read_text().splitlines() if "uses:" in line]
    assert [line for line in uses if not (_PINNED.fullmatch(line) or line.startswith(_OWN))] == []


def test_one_action_has_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in (*WORKFLOWS, *ACTIONS):
        for name, commit in re.findall(r"uses: ([\w.-]+/[\w./-]+)@(\S+)", path.read_text()):
            pins.setdefault(name, set()).add(commit)
    assert pins
    assert {name: commits for name, commits in pins.items() if len(commits) > 1} == {}


def test_nothing_is_allowed_by_default_and_little_per_job(workflow: Path) -> None:
    content = parsed(workflow)
    assert content["permissions"] == {}
    for name, job in content["jobs"].items():
        if "uses" in job:
            continue
        assert "timeout-minutes" in job, f"{name} may run for six hours"
        for step in job["steps"]:
            if str(step.get("uses", "")).startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(
    "workflow", [path for path in WORKFLOWS if "pull_request" in triggers(path)], ids=name_of, indirect=True
)
def test_what_pull_requests_start_may_write_nothing(workflow: Path) -> None:
    for name, job in parsed(workflow)["jobs"].items():
        if "pull_request" in str(job.get("if", "")) or "inputs.deploy" in str(job.get("if", "")):
            continue
        allowed = set((job.get("permissions") or {}).values())
        assert allowed <= {"read"}, f"{name} in {workflow.name}"
    assert "pull_request_target" not in triggers(workflow)


def test_scripts_take_expressions_from_their_environment_only(either: Path) -> None:
    assert [step["run"] for step in steps(either) if "${{" in step.get("run", "")] == []


def test_scripts_end_with_their_first_error(either: Path) -> None:
    """A single command needs no more than GitHub's own flags."""
    scripts = [step["run"] for step in steps(either) if "run" in step]
    several = [script for script in scripts if len(script.strip().splitlines()) > 1]
    own = [] if either.name == "ci.yml" else several
    assert [script for script in own if not script.startswith("set -euo pipefail\n")] == []


def test_no_secret_is_handed_to_everything(workflow: Path) -> None:
    """A job that works for one endpoint sees that endpoint's key: no step but the one that needs it."""
    text = workflow.read_text()
    assert "toJSON(secrets)" not in text
    assert "secrets: inherit" not in text
    assert "secrets[" not in text
    content = parsed(workflow)
    for job in (content, *content["jobs"].values()):
        assert "secrets." not in str(job.get("env", {}))


def test_a_form_has_no_more_fields_than_github_shows(workflow: Path) -> None:
    form = (triggers(workflow) or {}).get("workflow_dispatch") or {}
    assert len(form.get("inputs", {})) <= 25


def publishes(job: Mapping[str, Any]) -> bool:
    return "write" in str(job.get("permissions", {}))


@pytest.mark.parametrize(
    "workflow",
    [path for path in WORKFLOWS if any(map(publishes, parsed(path)["jobs"].values()))],
    ids=name_of,
    indirect=True,
)
def test_what_publishes_is_not_cancelled_halfway(workflow: Path) -> None:
    content = parsed(workflow)
    for place in (content, *filter(publishes, content["jobs"].values())):
        assert (place.get("concurrency") or {}).get("cancel-in-progress", False) is False


def test_every_input_of_an_action_is_used_and_explained(action: Path) -> None:
    text, content = action.read_text(), parsed(action)
    for name, given in content["inputs"].items():
        assert given["description"].strip(), name
        assert f"inputs.{name} " in text, name
    for name, given in content["outputs"].items():
        assert given["description"].strip(), name


def test_one_job_waits_for_all_others() -> None:
    jobs = parsed(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert set(jobs["passed"]["needs"]) == set(jobs) - {"passed"}
