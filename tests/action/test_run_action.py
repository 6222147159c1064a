"""`action/`, step by step as a runner would: real runs, published results, summaries and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION, Repository

pytestmark = pytest.mark.service("pypi", "node")


def inputs(url: str, **more: str) -> dict[str, str]:
    return {
        "tasks": "quickcheck.chat",
        "model-id": "org/model",
        "url": url,
        "backend": "process",
        "limit": "4",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def test_a_run_is_published_told_and_handed_on(runner: Runner, repository: Repository, model: str) -> None:
    ran = runner.action(ACTION, inputs(model, publish="commit", gate="0.5"))
    assert ran.outcome == "success", ran.log
    (record,) = json.loads(ran.outputs["records"])
    assert record.startswith("results/quickcheck/chat/org-model-")
    assert record in repository.files()
    assert repository.log()[0] == "Publish quickcheck.chat for org/model"
    (score,) = json.loads(ran.outputs["scores"])
    assert (score["task"], score["model"], score["value"]) == ("quickcheck.chat", "org/model", 1.0)
    assert ran.outputs["state"] == "succeeded"
    assert (Path(ran.outputs["results-path"]) / "run.json").exists()
    assert "| `quickcheck.chat` | `org/model` | succeeded | **1.0000**" in ran.summary
    assert "| open |" in ran.summary
    assert record in ran.summary
    assert (ran.annotations, ran.commands) == ([], [])
