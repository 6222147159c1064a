"""What a dry run shows of many jobs: all of the first one, and of the others what differs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from launcher.commands.dry_run import print_plan
from launcher.plans.planning import Planned
from planned_runs import plan

BACKENDS = {
    "slurm": {"hostname": "cluster", "output_dir": "/shared/runs", "container_runtime": "none"},
    "ray": {"dashboard_url": "http://head:8265", "shared_dir": "/shared/runs"},
    "process": {},
}
ALIKE = ("quickcheck.chat", "quickcheck.tools", "quickcheck.streaming")


def shown(
    capsys: pytest.CaptureFixture[str], backend: str, *tasks: str
) -> tuple[list[dict[str, str]], list[str]]:
    """Of each job its scripts by their names, and what is printed about it."""
    execution: dict[str, Any] = {"type": backend, **BACKENDS[backend]}
    planned = Planned(plan=plan({"execution": execution, "evaluation": {"tasks": list(tasks)}}))
    print_plan(planned, as_json=True)
    sent = json.loads(capsys.readouterr().out)["submissions"]
    print_plan(planned, as_json=False)
    printed = capsys.readouterr().out
    parts = re.split(r"^# \w{16}-\d{3}: .*, on \w+\n", printed, flags=re.MULTILINE)[1:]
    return [each["scripts"] for each in sent], parts


@pytest.mark.parametrize("backend", BACKENDS)
def test_jobs_that_are_much_alike_are_told_by_their_differences(
    backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, *others), (whole, *parts) = shown(capsys, backend, *ALIKE)
    for name, text in first.items():
        assert f"\n# ==> {name} <==\n{text}" in whole
    for scripts, part in zip(others, parts, strict=True):
        lines = part.splitlines()
        assert len(lines) < sum(text.count("\n") for text in scripts.values()) / 3
        for name, text in scripts.items():
            assert f"\n# ==> {name} <== of 0123456789abcdef-000, but for\n" in part
            own = set(text.splitlines()) - set(first[name].splitlines())
            assert own
            assert {f"+{line}" for line in own} <= set(lines)


def test_another_harness_is_told_whole_where_it_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    (_, scripts), (_, part) = shown(capsys, "slurm", "quickcheck.chat", "trap.one")
    assert f"\n# ==> run_config.yml <==\n{scripts['run_config.yml']}" in part
    assert "\n# ==> node.sh <== of 0123456789abcdef-000, but for\n" in part
