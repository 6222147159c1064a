"""Dependencies on jobs of other runs: found, or an error before anything is submitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import InvalidInput
from launched import Place, changed
from launcher.jobs import Endpoint, RunPlan
from launcher.plans.dependencies import across, waits_for_others
from launcher.runs.database import Database
from planned_runs import plan


@pytest.fixture
def before(tmp_path: Path, database: Database) -> RunPlan:
    run = Place("process").run(tmp_path, "true", "true", "true")
    other = Endpoint(model_id="other", url="http://h/v1", type="chat")
    run = replace(run, jobs=(*run.jobs[:2], replace(run.jobs[2], task=run.jobs[0].task, endpoint=other)))
    database.record(run)
    return run


def behind(run: RunPlan, database: Database, *wanted: str) -> tuple[str, ...]:
    found = across(changed(run, depends_on=wanted), lambda name: database.plan(database.resolve(name)))
    return found.jobs[0].depends_on


def test_tasks_and_keys_of_other_runs_are_found(before: RunPlan, tmp_path: Path, database: Database) -> None:
    run = Place("process").run(tmp_path, "true", "true")
    first, second, third = (job.key for job in before.jobs)
    assert behind(run, database, f"{before.run_id}/shell.t0") == (first,)
    assert behind(run, database, f"{before.run_id[:12]}/t1", first) == (second, first)
    other = changed(run, endpoint=replace(run.jobs[0].endpoint, model_id="neither"))
    assert behind(other, database, f"{before.run_id}/t0") == (first, third)
    assert behind(run, database, run.jobs[1].key) == (run.jobs[1].key,)
    assert not waits_for_others(run)
    assert waits_for_others(changed(run, depends_on=(first,)))


def test_what_matches_nothing_is_an_error_at_once(
    before: RunPlan, tmp_path: Path, database: Database
) -> None:
    run = Place("process").run(tmp_path, "true")
    wanted = (f"{before.run_id}/t9", "0000000000000000-000", "nowhere/t0", f"{before.run_id}-009")
    with pytest.raises(InvalidInput, match="can't be planned") as caught:
        behind(run, database, *wanted)
    said = str(caught.value)
    assert (
        f"shell.t0: depends_on '{before.run_id}/t9' matches nothing of that run, which has shell.t0" in said
    )
    assert "depends_on '0000000000000000-000': no run begins with '0000000000000000'" in said
    assert "depends_on 'nowhere/t0': no run begins with 'nowhere'" in said
    assert f"depends_on '{before.run_id}-009' matches nothing" in said


def test_a_plan_leaves_other_runs_to_the_database() -> None:
    tasks = [{"name": "quickcheck.chat", "depends_on": "0123/quickcheck.chat"}]
    (job,) = plan({"execution": {"type": "process"}, "evaluation": {"tasks": tasks}}).jobs
    assert job.depends_on == ("0123/quickcheck.chat",)
