"""publish, compare, gate, export and the lists of runs, on runs that really happened."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from git_commands import git
from running import Ran, evaldock
from standins import standin

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "catalog/schema/record.schema.json").read_text())
TASK = "quickcheck.chat"
ACCURACY = "chat/accuracy/chat"
LIMIT = 10
MAPPING = """
[quickcheck]
container = "oci:images/quickcheck:1.0"
packages = ["./harnesses/quickcheck"]
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """`run` asked two models, of which the second fails every other request; `failed` asked one that doesn't
    answer at all."""

    root: Path
    state: Path
    run: str
    failed: str


def target(model: str, url: str) -> dict[str, Any]:
    return {"api_endpoint": {"model_id": model, "url": url}}


def start(root: Path, name: str, targets: Sequence[dict[str, Any]]) -> Ran:
    params = {"limit_samples": LIMIT, "parallelism": 1, "max_retries": 0}
    data = {
        "execution": {"type": "process"},
        "targets": list(targets),
        "evaluation": {"tasks": [{"name": TASK, "params": params}]},
    }
    (root / f"{name}.yaml").write_text(yaml.safe_dump(data))
    return evaldock("run", "--config-dir", root, "--config-name", name, "--catalog", root, "--json",
                    "--output-dir", root / "runs")  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, real_wheels: object) -> Iterator[Finished]:
    """`real_wheels` stands for PyPI, from where the harness's requirements come."""
    root, state = tmp_path_factory.mktemp("catalog"), tmp_path_factory.mktemp("state")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("EVALDOCK_STATE", str(state))
        patch.setenv("EVALDOCK_CACHE", str(state / "cache"))
        shutil.copytree(ROOT / "catalog/harnesses/quickcheck", root / "harnesses/quickcheck")
        image = f"oci:{root}/images/quickcheck:1.0"
        assert evaldock("pack", root / "harnesses/quickcheck", "--to", image).code == 0
        (root / "mapping.toml").write_text(MAPPING)
        assert evaldock("sync", "--catalog", root).code == 0
        good = stack.enter_context(standin(tmp_path_factory.mktemp("good")))
        worse = stack.enter_context(standin(tmp_path_factory.mktemp("worse"), "--fault", "400:every=2"))
        whole = start(root, "whole", [target("org/good", good), target("org/worse", worse)])
        assert whole.code == 0, whole.err
        failed = start(root, "failed", [target("org/gone", "http://127.0.0.1:9/v1")])
        assert failed.code == 1, failed.err
        yield Finished(root, state, whole.json["run"], failed.json["run"])


@pytest.fixture
def root(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of this test's own, with the finished runs in the database."""
    monkeypatch.setenv("EVALDOCK_STATE", str(finished.state))
    for name in ("mapping.toml", "ir"):
        source = finished.root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def published(finished: Finished, root: Path) -> Path:
    assert evaldock("publish", finished.run).code == 0
    return root


def record(root: Path, model: str) -> dict[str, Any]:
    (file,) = (f for f in (root / "results").rglob("*.json") if f.match(f"*{model}*/*-00?.json"))
    data: dict[str, Any] = json.loads(file.read_bytes())
    return data


def test_lists_and_shows_the_runs(finished: Finished, root: Path) -> None:
    listed = evaldock("ls", "runs", "--json").json
    assert [row["run"] for row in listed] == [finished.failed, finished.run]
    assert listed[1]["states"] == {"succeeded": 2}
    assert evaldock("ls", "runs", "--limit", "1", "--json").json == listed[:1]
    assert evaldock("ls", "runs", "--backend", "docker", "--json").json == []
    info = evaldock("info", finished.run, "--json").json
    assert [(job["model"], job["state"], job["done"], job["total"]) for job in info["jobs"]] == [
        ("org/good", "succeeded", LIMIT, LIMIT),
        ("org/worse", "succeeded", LIMIT, LIMIT),
    ]
    assert info["plan"]["jobs"][0]["task"] == TASK
    assert evaldock("info", finished.run).out.count("succeeded") == 2


def test_publishes_records_that_fit_the_schema(finished: Finished, root: Path) -> None:
    done = evaldock("publish", finished.run, "--json")
    assert (done.code, done.json["commit"], done.json["pushed"]) == (0, None, False)
    assert len(done.json["files"]) == 4
    assert all((root / file).is_file() for file in done.json["files"])
    for model in ("good", "worse"):
        jsonschema.Draft202012Validator(SCHEMA).validate(record(root, model))
    good = record(root, "good")
    assert (good["limit"], good["backend"], good["endpoint_type"]) == (LIMIT, "process", "chat")
    assert (good["partial"], good["origin"]) == (False, {"kind": "shell"})
    assert "aiohttp" in good["versions"]
    assert "127.0.0.1" not in json.dumps(good)
    again = evaldock("publish", finished.run, "--json")
    assert (again.code, again.json["files"]) == (0, [])


def test_what_failed_is_refused_and_nothing_of_it_is_written(finished: Finished, root: Path) -> None:
    refused = evaldock("publish", finished.run, finished.failed)
    assert refused.code == 5
    assert "nothing was published: 1 jobs have no results to publish" in refused.err
    assert not (root / "results").exists()


def test_what_failed_is_published_as_partial_on_request(finished: Finished, root: Path) -> None:
    assert evaldock("publish", finished.failed, "--partial").code == 0
    (file,) = (root / "results").rglob("*-attempt-1.json")
    data = json.loads(file.read_bytes())
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert (data["partial"], data["model"]) == (True, "org/gone")


def test_nothing_is_published_of_a_job_that_left_nothing(
    finished: Finished, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed run, adopted on another machine and without its results."""
    kept = shutil.copytree(finished.root / "runs" / finished.failed, root / "kept")
    (results,) = kept.rglob("results.yml")
    results.unlink()
    monkeypatch.setenv("EVALDOCK_STATE", str(root / "state"))
    assert evaldock("adopt", kept).code == 0
    refused = evaldock("publish", finished.failed, "--partial")
    assert refused.code == 5
    assert "the harness left no results.yml" in refused.err


def test_an_unknown_run_and_a_folder_without_catalog(finished: Finished, root: Path) -> None:
    assert evaldock("publish", "zzzz").code == 3
    (root / "empty").mkdir()
    assert evaldock("publish", finished.run, "--to", root / "empty").code == 3


def test_committed_with_a_message_that_names_task_and_models(finished: Finished, root: Path) -> None:
    git(root, "init", "--quiet")
    done = evaldock("publish", finished.run, "--commit", "--json")
    said = git(root, "log", "--format=%H %s")
    assert said == f"{done.json['commit']} Publish {TASK} for org/good and org/worse"


def test_compares_two_models_sample_by_sample(published: Path) -> None:
    compared = evaldock("compare", "org/good", "org/worse", "--json")
    assert compared.code == 0
    (row,) = compared.json["rows"]
    assert (row["task"], row["metric"], row["first"], row["second"]) == (TASK, ACCURACY, 1.0, 0.5)
    assert (row["paired"], row["same_question"]) == (LIMIT, True)
    # Five pairs differ, all in one direction: 2 · (1/2)⁵.
    assert row["p"] == 0.0625
    assert row["verdict"] == "could be chance"
    table = evaldock("compare", "org/good", "org/worse", "--all-metrics").out
    assert "could be chance" in table
    assert "chat/errors/chat" in table


def test_compares_jobs_and_record_files_but_not_a_mixture_of_models(
    finished: Finished, published: Path
) -> None:
    first, second = f"{finished.run}-000", f"{finished.run}-001"
    by_key = evaldock("compare", first, second, "--json").json
    files = [next((published / "results").rglob(f"{key}.json")) for key in (first, second)]
    assert evaldock("compare", *files, "--json").json == by_key
    begun = [f"{finished.run[:13]}-{job}" for job in ("000", "001")]
    assert evaldock("compare", *begun, "--json").json == by_key
    assert evaldock("compare", f"{finished.run}-00", second).code == 3
    mixed = evaldock("compare", finished.run, "org/good")
    assert mixed.code == 2
    assert "several models: org/good, org/worse" in mixed.err


def test_comparing_with_nobody_or_nothing_in_common(published: Path) -> None:
    nobody = evaldock("compare", "org/good", "org/other")
    assert nobody.code == 3
    assert "there are results of: org/good, org/worse" in nobody.err
    other = record(published, "worse") | {"task": "other", "model": "org/lone"}
    (published / "results" / "lone.json").write_text(json.dumps(other))
    apart = evaldock("compare", "org/good", "org/lone", "--json")
    assert apart.code == 3
    assert apart.json == {"rows": [], "only_first": [TASK], "only_second": ["quickcheck.other"]}


@pytest.mark.parametrize(
    ("arguments", "code", "closed"),
    [
        (["--min", "0.5"], 0, []),
        (["--min", "0.9"], 1, ["org/worse"]),
        (["--min", f"{TASK}/accuracy=0.6"], 1, ["org/worse"]),
        (["--min", "chat/errors=0", "--min", "chat=0.5"], 0, []),
    ],
)
def test_a_gate_of_least_values(
    finished: Finished, root: Path, arguments: list[str], code: int, closed: list[str]
) -> None:
    held = evaldock("gate", finished.run, *arguments, "--json")
    assert held.code == code
    assert held.json["passed"] is (code == 0)
    assert [check["model"] for check in held.json["checks"] if not check["passed"]] == closed


def test_a_gate_for_what_does_not_exist(finished: Finished, root: Path) -> None:
    assert evaldock("gate", finished.run).code == 2
    assert evaldock("gate", finished.run, "--min", "high").code == 2
    assert evaldock("gate", finished.run, "--min", "none=0.5").code == 3
    no_metric = evaldock("gate", finished.run, "--min", "chat/speed=1")
    assert no_metric.code == 3
    assert ACCURACY in no_metric.err
    assert evaldock("gate", finished.run, "--no-worse-than", "org/good").code == 3


def test_a_job_that_failed_closes_the_gate(finished: Finished, root: Path) -> None:
    held = evaldock("gate", finished.failed, "--min", "0", "--json")
    assert held.code == 1
    (check,) = held.json["checks"]
    assert (check["metric"], check["passed"]) == (None, False)
    assert "has not succeeded" in check["says"]


def baseline(root: Path, **changes: Any) -> Path:
    """Somebody's older result like the good model's, without scores per sample."""
    old = record(root, "good") | {"model": "org/old", "run": "old-000", **changes}
    file = root / "results" / "old.json"
    file.write_text(json.dumps(old))
    return file


def test_each_model_is_held_against_the_baseline(finished: Finished, published: Path) -> None:
    baseline(published)
    held = evaldock("gate", finished.run, "--no-worse-than", "org/old", "--json")
    assert held.code == 1
    assert [(check["model"], check["says"], check["passed"]) for check in held.json["checks"]] == [
        ("org/good", "1 against 1: could be chance", True),
        ("org/worse", "0.5 against 1: lower", False),
    ]


def test_scores_per_sample_say_more_than_means(finished: Finished, root: Path, published: Path) -> None:
    """The same baseline with its samples: five pairs in one direction could still be chance. The run's own
    samples come from its folder: it need not be published."""
    old = baseline(published)
    samples = next((published / "results").rglob(f"{finished.run}-000.samples.json"))
    shutil.copy(samples, old.with_name("old.samples.json"))
    shutil.rmtree(published / "results/quickcheck")
    held = evaldock("gate", finished.run, "--no-worse-than", "org/old", "--json")
    assert (held.code, held.json["checks"][1]["says"]) == (0, "0.5 against 1: could be chance")


def test_a_baseline_of_another_question_closes_the_gate(finished: Finished, published: Path) -> None:
    for other in ({"limit": 20}, {"params_sha": "x"}, {"task_sha": "x"}, {"partial": True}):
        baseline(published, **other)
        held = evaldock("gate", finished.run, "--no-worse-than", "old")
        assert held.code == 1
        assert held.out.count("the baseline is of another image, other parameters or another limit") == 2


def test_lower_is_better_where_errors_are_counted(finished: Finished, published: Path) -> None:
    baseline(published, metrics=[{"name": "chat/errors/chat", "value": 1.0, "count": LIMIT}])
    held = evaldock("gate", finished.run, "--no-worse-than", "org/old", "--json")
    assert held.code == 0
    assert [check["says"] for check in held.json["checks"]] == ["0 against 1: lower", "0.5 against 1: lower"]


def test_a_run_does_not_vouch_for_itself(finished: Finished, published: Path) -> None:
    alone = evaldock("gate", finished.run, "--no-worse-than", "org/good")
    assert alone.code == 3
    assert "no task of the run has a result of 'org/good'" in alone.err


def test_exports_rows_as_json_and_csv(published: Path) -> None:
    rows = evaldock("export", "org/good").json
    assert {row["model"] for row in rows} == {"org/good"}
    (accuracy,) = (row for row in rows if row["metric"] == ACCURACY)
    assert (accuracy["task"], accuracy["value"], accuracy["count"], accuracy["limit"]) == (
        TASK,
        1.0,
        LIMIT,
        LIMIT,
    )
    assert evaldock("export", "--format", "csv", "--output", "all.csv").code == 0
    table = list(csv.DictReader(io.StringIO((published / "all.csv").read_text())))
    assert {row["model"] for row in table} == {"org/good", "org/worse"}
    assert next(r["value"] for r in table if r["model"] == "org/worse" and r["metric"] == ACCURACY) == "0.5"
    assert evaldock("export", "org/other").code == 3


def test_exports_files_for_every_eval_ever(published: Path) -> None:
    done = evaldock("export", "--format", "every-eval-ever", "--output", "data", "--organization", "Lab")
    assert done.code == 0
    files = sorted((published / "data").rglob("*.json"))
    assert len(files) == 2
    for data in (json.loads(file.read_bytes()) for file in files):
        assert data["schema_version"] == "0.2.1"
        assert data["retrieved_timestamp"].isdigit()
        assert data["source_metadata"]["source_organization_name"] == "Lab"
        assert data["source_metadata"]["evaluator_relationship"] == "other"
        assert data["model_info"]["id"].startswith("org/")
        names = [result["metric_config"]["evaluation_description"] for result in data["evaluation_results"]]
        assert ACCURACY in names
        assert not [name for name in names if "seconds" in name or "tokens" in name]
        for result in data["evaluation_results"]:
            config, score = result["metric_config"], result["score_details"]["score"]
            assert config["min_score"] <= score <= config["max_score"]
            assert result["source_data"]["source_type"] == "other"


def test_exports_entries_for_hugging_face(published: Path) -> None:
    done = evaldock("export", "org/worse", "--format", "huggingface", "--dataset", f"{TASK}=org/set:test")
    (entry,) = yaml.safe_load(done.out)
    assert (entry["dataset"], entry["value"]) == ({"id": "org/set", "task_id": "test"}, 0.5)
    assert entry["date"] == record(published, "worse")["ended"][:10]
    unnamed = evaldock("export", "org/worse", "--format", "huggingface")
    assert unnamed.code == 2
    assert "--dataset TASK=OWNER/NAME[:ID]" in unnamed.err
    assert evaldock("export", "--format", "huggingface", "--dataset", "chat").code == 2


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    published: Path, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    hinted = evaldock("export", "--format", tracker)
    assert hinted.code == 2
    assert f"pip install 'evaldock[{tracker}]'" in hinted.err


def test_the_site_shows_what_was_published(published: Path) -> None:
    assert evaldock("build", "--output", "site", "--quiet").code == 0
    pages = "".join(page.read_text() for page in (published / "site").rglob("*.html"))
    assert "org/worse" in pages
    assert "0.5" in pages
    assert str(published) not in pages
    assert os.environ["EVALDOCK_STATE"] not in pages
