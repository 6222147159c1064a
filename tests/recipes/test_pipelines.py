"""Pipelines: what the file may say, steps that run after one another, and steps in a pipe."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, NotFound
from launcher.recipes import pipelines, piping
from planned_runs import HARNESSES
from running import Ran, evaldock
from standins import standin

Write = Callable[..., Path]
SUMS = Path(__file__).with_name("samples") / "sums"
PYTHON = ("[tool.runspec]", "[tool.runspec.run]", 'launch = "python"')
pytestmark = pytest.mark.timeout(600)


def read(folder: Path, text: str) -> pipelines.Pipeline:
    path = folder / "pipeline.toml"
    path.write_text(text)
    return pipelines.read(path)


def problems(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        read(folder, text)
    return caught.value.problems


def artifacts(ran: Ran, task: str) -> Path:
    (folder,) = [job["directory"] for job in ran.json["jobs"] if job["task"] == task]
    return Path(folder) / "artifacts"


def steps(*names: str, **needs: list[str]) -> str:
    return "\n".join(
        f'[[step]]\nname = "{name}"\nrecipe = "{name}.py"\nneeds = {json.dumps(needs.get(name, []))}'
        for name in names
    )


def test_every_field_of_a_step(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        [execution]
        retries = 2
        [[step]]
        name = "get-data"
        recipe = "sub/get.py"
        config = "small"
        overrides = ["a=1"]
        profile = "cpu"
        [[step]]
        name = "check"
        task = "quickcheck.chat"
        config = "endpoint"
        needs = ["get-data"]
        """,
    )
    assert (found.name, found.execution) == ("pipeline", {"retries": 2})
    assert found.steps == (
        pipelines.Step(
            name="get-data",
            recipe=tmp_path / "sub" / "get.py",
            config="small",
            overrides=("a=1",),
            profile="cpu",
        ),
        pipelines.Step(
            name="check", task="quickcheck.chat", config=str(tmp_path / "endpoint"), needs=("get-data",)
        ),
    )
    assert found.steps[0].input_name == "get_data"


def test_every_mistake_at_once(tmp_path: Path) -> None:
    text = """nam = "x"
[[step]]
name = "a b"
recipe = "a.py"
[[step]]
name = "one"
recipe = "a.py"
task = "b"
nedds = []
[[step]]
recipe = 7
needs = "one"
[[step]]
name = "ONE"
recipe = "c.py"
needs = ["tow", "one"]
[[step]]
name = "two"
recipe = "c.py"
overrides = [1]
"""
    assert problems(tmp_path, text) == (
        "line 1: nam: unknown key; did you mean 'name'?",
        "line 2: step[0].name: 'a b': use letters, digits, '_' and '-', a letter first",
        "line 5: step[1].nedds: unknown key; did you mean 'needs'?",
        "line 5: step[1]: a step is either a recipe or a task",
        "line 10: step[2].name: every step has a name",
        "line 10: step[2].recipe: expected text, got 7",
        "line 10: step[2]: a step is either a recipe or a task",
        "line 10: step[2].needs: expected a list of texts, got 'one'",
        "line 17: step[4].overrides: expected a list of texts, got [1]",
        "line 13: step[3].name: there is a step 'one' already",
        "line 13: ONE.needs: no step 'tow'; did you mean 'two'?",
    )


def test_circles_are_told_with_their_chain(tmp_path: Path) -> None:
    text = steps("a", "b", "c", "d", b=["d"], c=["b"], d=["a", "c"])
    assert problems(tmp_path, text) == ("line 5: b.needs: steps need one another in a circle: b → d → c → b",)
    assert problems(tmp_path, steps("a", a=["a"])) == (
        "line 1: a.needs: steps need one another in a circle: a → a",
    )


def test_what_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such pipeline"):
        pipelines.read(tmp_path / "missing.toml")
    assert problems(tmp_path, "") == ("step: expected tables [[step]], one for each step",)
    with pytest.raises(InvalidInput, match="not valid TOML"):
        read(tmp_path, "[[step")


def test_steps_are_ordered_by_what_they_need(tmp_path: Path) -> None:
    found = read(tmp_path, steps("report", "score", "prepare", report=["score"], score=["prepare"]))
    assert [step.name for step in found.ordered()] == ["prepare", "score", "report"]
    with pytest.raises(InvalidInput) as caught:
        piping.chain(read(tmp_path, steps("a", "b", "c", c=["a", "b"])))
    assert caught.value.problems == (
        "b needs no other, and it comes after a",
        "c needs a and b, and it comes after b",
    )


@pytest.fixture
def example(project: Path) -> Path:
    """A project of its own: while something is shipped, nobody may change it."""
    shutil.copytree(SUMS, project / "sums")
    return project / "sums" / "pipeline.toml"


def test_the_example_runs_as_one_run(tmp_path: Path, example: Path) -> None:
    ran = evaldock("run", example, "score.think=false", "--output-dir", tmp_path / "runs", "--json")
    assert ran.code == 0, ran.err
    assert [job["task"] for job in ran.json["jobs"]] == ["prepare", "score", "report"]
    assert len((artifacts(ran, "prepare") / "items.jsonl").read_text().splitlines()) == 10
    scores = json.loads((artifacts(ran, "score") / "scores.json").read_bytes())
    assert scores == {"items": 10, "accuracy": 0.2}
    assert (artifacts(ran, "report") / "report.md").read_text() == "# Sums\n\n20% of 10 are right.\n"
    assert evaldock("status", ran.json["run"]).code == 0


def test_the_example_runs_as_a_pipe(tmp_path: Path, example: Path) -> None:
    command = [sys.executable, "-m", "catalog.cli", "run", str(example), "--pipe", "prepare.count=4"]
    done = subprocess.run(
        [*command, "--output-dir", str(tmp_path / "runs")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "# Sums\n\n100% of 4 are right.\n\n"), done.stderr


def test_a_pipe_says_which_step_failed(recipe: Write, project: Path) -> None:
    recipe("first", *PYTHON, body="import sys; sys.stdout.close(); sys.exit(3)")
    recipe("second", *PYTHON, body="import sys; assert not sys.stdin.read()")
    (project / "pipeline.toml").write_text(steps("first", "second", second=["first"]))
    command = [sys.executable, "-m", "catalog.cli", "run", "pipeline.toml", "--pipe"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "evaldock: first ended with exit code 3"


def test_results_reach_later_steps_in_variables_and_configurations(recipe: Write, project: Path) -> None:
    recipe("first", *PYTHON, body="import os; open(os.environ['EVALDOCK_RESULTS'] + '/a', 'w').write('one')")
    recipe(
        "second",
        *PYTHON,
        body="import json, os\n"
        "config = json.load(open(os.environ['EVALDOCK_CONFIG']))\n"
        "assert config['from'] == os.environ['EVALDOCK_INPUT_FIRST_STEP'], config\n"
        "print(open(config['file']).read(), config['label'], os.environ['WHERE'])",
    )
    (project / "pipeline.toml").write_text(
        """
        [execution]
        type = "process"
        [[step]]
        name = "second"
        recipe = "second.py"
        needs = ["first-step"]
        overrides = [
          "from=${run.inputs.first_step}",
          "file=${run.inputs.first_step}/a",
          "label=${run.name}/${run.step}",
          "execution.env_vars.WHERE=lit:${run.inputs.first_step}",
        ]
        [[step]]
        name = "first-step"
        recipe = "first.py"
        """
    )
    ran = evaldock("run", "pipeline.toml", "--json")
    assert ran.code == 0, ran.err
    log = (artifacts(ran, "second").parent / "logs" / "job.log").read_text()
    assert log.endswith(f"one pipeline/second {artifacts(ran, 'first-step')}\n")


def test_a_step_that_fails_keeps_those_behind_it_from_starting(recipe: Write, project: Path) -> None:
    recipe("a", *PYTHON, body="raise SystemExit(4)")
    for name in ("b", "c"):
        recipe(name, *PYTHON)
    (project / "pipeline.toml").write_text(steps("a", "b", "c", b=["a"]))
    ran = evaldock("run", "pipeline.toml", "--json")
    states = {job["task"]: (job["state"], job["reason"]) for job in ran.json["jobs"]}
    assert ran.code == 1
    assert states["a"] == ("failed", None)
    assert states["b"] == ("failed", f"its dependency a ({ran.json['run']}-000) failed")
    assert states["c"] == ("succeeded", None)


def test_a_resumed_pipeline_goes_on_where_it_failed(recipe: Write, project: Path) -> None:
    body = "import os, pathlib\nseen = pathlib.Path(os.environ['EVALDOCK_RESULTS'], 'seen')\n"
    recipe("a", *PYTHON, body=f"{body}assert not seen.exists()\nseen.touch()")
    recipe("b", *PYTHON, body=f"{body}again = seen.exists()\nseen.touch()\nraise SystemExit(not again)")
    recipe("c", *PYTHON, body="print('reached')")
    (project / "pipeline.toml").write_text(steps("a", "b", "c", b=["a"], c=["b"]))
    ran = evaldock("run", "pipeline.toml", "--json")
    assert [job["state"] for job in ran.json["jobs"]] == ["succeeded", "failed", "failed"]
    assert evaldock("resume", ran.json["run"]).code == 0
    assert evaldock("tick", "--loop", ran.json["run"]).code == 0
    jobs = evaldock("status", ran.json["run"], "--json").json
    assert [job["state"] for job in jobs] == ["succeeded"] * 3
    assert (artifacts(ran, "c").parent / "logs" / "job.log").read_text() == "reached\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sore.a=1"], "not an override of a pipeline: 'sore.a=1'; did you mean 'score'?"),
        (["a=1"], "expected STEP.key=value or execution.key=value; the steps are score, report"),
        (["-c", "small"], "-c can't be given to a pipeline"),
        (["--model-id", "m"], "--model-id can't be given to a recipe"),
        (["score.execution.retries=1"], "execution.retries is 1 for score and 0 for report"),
        (
            ["score.execution.type=docker", "score.execution.image=x"],
            "score would run on docker and report on",
        ),
        (["--pipe", "--detach"], "--pipe runs here and now"),
        (["--pipe"], "these steps make no pipe"),
    ],
)
def test_what_cannot_be_one_run(recipe: Write, project: Path, words: list[str], message: str) -> None:
    for name in ("score", "report"):
        recipe(name, *PYTHON)
    (project / "pipeline.toml").write_text(steps("score", "report"))
    ran = evaldock("run", "pipeline.toml", *words, "--dry-run" if "--pipe" not in words else "--json")
    assert ran.code == 2
    assert message in ran.err


def test_help_of_a_pipeline(example: Path) -> None:
    shown = evaldock("help", "sums/pipeline.toml")
    assert shown.out.splitlines() == [
        "sums",
        "STEP     NEEDS    RUNS        OVERRIDES",
        "prepare           prepare.py  count=10",
        "score    prepare  score.py",
        "report   score    report.py",
        "",
        "Run it",
        "  evaldock run sums/pipeline.toml STEP.key=value…",
    ]
    data = evaldock("help", example, "--json").json
    assert [(step["step"], step["needs"]) for step in data["steps"]] == [
        ("prepare", []),
        ("score", ["prepare"]),
        ("report", ["score"]),
    ]


def test_mistakes_of_all_steps_at_once(recipe: Write, project: Path) -> None:
    recipe("a", "[tool.runspec]", "[tool.runspec.run]", "launch = 'x'")
    recipe("b", *PYTHON)
    (project / "pipeline.toml").write_text(steps("a", "b", "c"))
    ran = evaldock("run", "pipeline.toml", "b.execution.type=docker", "--dry-run")
    assert ran.code == 2
    for part in ("3 steps can't be planned", "'x': use direct", "no image is named", "no such recipe"):
        assert part in ran.err


def test_a_task_of_a_catalog_between_recipes(recipe: Write, project: Path, tmp_path: Path) -> None:
    recipe("prepare", *PYTHON, body="print('ready')")
    recipe(
        "report",
        *PYTHON,
        body="import os, pathlib\n"
        "results = pathlib.Path(os.environ['EVALDOCK_INPUT_CHECK'], 'results.yml')\n"
        "assert 'accuracy' in results.read_text()",
    )
    with standin(tmp_path) as url:
        endpoint: dict[str, Any] = {"target": {"api_endpoint": {"model_id": "m", "url": url}}}
        (project / "endpoint.yaml").write_text(json.dumps(endpoint))
        (project / "pipeline.toml").write_text(
            """
            [execution]
            type = "process"
            [[step]]
            name = "prepare"
            recipe = "prepare.py"
            [[step]]
            name = "check"
            task = "quickcheck.chat"
            config = "endpoint"
            needs = ["prepare"]
            overrides = ["evaluation.nemo_evaluator_config.config.params.limit_samples=2"]
            [[step]]
            name = "report"
            recipe = "report.py"
            needs = ["check"]
            """
        )
        ran = evaldock("run", "pipeline.toml", "--catalog", HARNESSES.parent, "--json")
    assert ran.code == 0, ran.err
    assert [job["task"] for job in ran.json["jobs"]] == ["prepare", "quickcheck.chat", "report"]
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "mapping.toml").touch()
    published = evaldock("publish", ran.json["run"], "--to", catalog, "--json")
    assert {tuple(name.split("/")[1:3]) for name in published.json["files"]} == {("quickcheck", "chat")}
    gate = evaldock("gate", ran.json["run"], "--min", "0.1", "--catalog", catalog, "--json")
    assert (gate.code, len(gate.json["checks"])) == (0, 1), gate.err
