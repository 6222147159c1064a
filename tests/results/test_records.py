"""Records on disk: schema, names, never overwritten, read back whole, and read with care."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import comparison, exporters, record_files
from catalog.csv_text import csv_file
from catalog.errors import Refused, UsageError
from catalog.record_files import Published, load_all, path_of, safe_name, write
from catalog.records import Metric, Record, from_data, to_data

SCHEMA = json.loads((Path(__file__).parents[2] / "catalog/schema/record.schema.json").read_text())


def record(**more: Any) -> Record:
    made = Record(
        harness="quickcheck",
        task="chat",
        model="org/model",
        run="0123456789abcdef-000",
        task_sha="t" * 64,
        params_sha="p" * 64,
        metrics=(
            Metric(name="chat/latency_seconds/chat", value=0.25, count=20, stats={"min": 0.1, "max": 0.4}),
            Metric(name="chat/accuracy/chat", value=0.9, count=20, stderr=0.0688),
        ),
        endpoint_type="chat",
        params={"temperature": 0.0, "max_new_tokens": 100},
        ended="2026-01-02T03:04:05Z",
        versions={"evaldock-quickcheck": "1.0.0"},
    )
    return replace(made, **more)


def test_fits_the_committed_schema_and_comes_back() -> None:
    for one in (record(), record(limit=3.0, partial=True, packages=("a==1",), origin={"kind": "shell"})):
        data = json.loads(record_files.text_of(one))
        jsonschema.Draft202012Validator(SCHEMA).validate(data)
        assert from_data(data) == one


@given(st.text(min_size=1))
def test_any_name_becomes_one_safe_path_component(name: str) -> None:
    safe = safe_name(name)
    assert safe == Path(safe).name
    assert safe not in (".", "..")
    assert safe.isascii()
    assert len(safe) < 110


def test_names_that_differ_only_in_case_or_marks_stay_apart() -> None:
    names = ["Org/Model", "org/model", "org-model", "org_model", "..", "ORG/MODEL", "a" * 300, "a" * 301]
    assert len({safe_name(name).lower() for name in names}) == len(names)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": 2}, "not a result record of schema 1"),
        ({"harness": ""}, "harness: expected a text"),
        ({"metrics": []}, "metrics: expected a list"),
        ({"metrics": [{"name": "x", "value": "1"}]}, r"metrics\[0\]: expected a name and a number"),
        ({"metrics": [{"name": "x", "value": float("nan")}]}, r"metrics\[0\]"),
        ({"params": []}, "params: expected a mapping"),
        ({"limit": "all"}, "limit: expected a number"),
    ],
)
def test_a_broken_record_is_told_where(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        from_data({**to_data(record()), **change})


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (file,) = write(tmp_path, record())
    before = file.read_bytes()
    assert write(tmp_path, record()) == []
    other = record(metrics=(Metric(name="x", value=0.1),))
    with pytest.raises(Refused, match="another result was published under this name"):
        write(tmp_path, other)
    assert file.read_bytes() == before
    assert file == tmp_path / "results" / path_of(record())


def test_a_hundred_writers_lose_nothing(tmp_path: Path) -> None:
    def one(number: int) -> None:
        write(tmp_path, record(run=f"run-{number:03}"), {"item": 1.0})

    threads = [threading.Thread(target=one, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    published, problems = load_all(tmp_path)
    assert (len(published), problems) == (100, [])
    assert all(record_files.read_samples(tmp_path / one.file) == {"item": 1.0} for one in published)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_what_is_no_record_is_named_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path, record())
    broken = tmp_path / "results" / "broken.json"
    broken.write_text("{")
    published, (problem,) = load_all(tmp_path)
    assert len(published) == 1
    assert str(broken) in problem


def test_the_metric_that_stands_for_the_whole() -> None:
    assert record().primary.name == "chat/accuracy/chat"
    assert record().metric("latency_seconds") == record().metrics[0]
    assert record().metric("chat") is None


def published(one: Record) -> Published:
    return Published(one, Path("results") / path_of(one))


def test_comparing_two_models_over_what_both_have() -> None:
    first = [published(record()), published(record(task="only_first"))]
    second = [
        published(record(model="other", metrics=(Metric(name="chat/accuracy/chat", value=0.2, count=20),)))
    ]
    found = comparison.compare(first, second)
    (row,) = found.rows
    assert (row.task, row.metric, comparison.verdict(row)) == (
        "quickcheck.chat",
        "chat/accuracy/chat",
        "lower",
    )
    assert found.only_first == ("quickcheck.only_first",)


@pytest.mark.parametrize("change", [{"task_sha": "x"}, {"params_sha": "x"}, {"limit": 3.0}])
def test_other_questions_are_not_judged(change: dict[str, Any]) -> None:
    found = comparison.compare([published(record())], [published(record(model="b", **change))])
    assert {comparison.verdict(row) for row in found.rows} == {"not the same question"}


def test_the_newest_whole_record_stands_for_a_task() -> None:
    records = [
        record(run="a", ended="2026-01-01T00:00:00Z"),
        record(run="b", ended="2026-01-03T00:00:00Z"),
        record(run="c", ended="2026-01-09T00:00:00Z", limit=2.0),
    ]
    (best,) = comparison.newest([published(one) for one in records])
    assert best.record.run == "b"


def test_every_eval_ever_has_what_its_schema_wants() -> None:
    data = exporters.every_eval_ever(record(), organization="lab")
    assert data["model_info"] == {"name": "org/model", "id": "org/model", "developer": "org"}
    assert data["retrieved_timestamp"] == "1767323045"
    assert data["eval_library"] == {"name": "quickcheck", "version": "1.0.0"}
    (result,) = data["evaluation_results"]
    assert result["metric_config"]["score_type"] == "continuous"
    assert result["score_details"]["score"] == 0.9
    assert result["score_details"]["uncertainty"]["num_samples"] == 20
    assert result["generation_config"]["generation_args"] == {"temperature": 0.0, "max_tokens": 100}


def test_metrics_without_bounds_are_no_shares() -> None:
    only = record(metrics=(Metric(name="seconds", value=0.2),))
    with pytest.raises(UsageError, match="no metric between 0 and 1"):
        exporters.every_eval_ever(only, organization="lab")


def test_hugging_face_entries_need_a_data_set() -> None:
    entries = exporters.huggingface([published(record())], {"quickcheck.chat": "org/set:main"})
    assert entries == [{"dataset": {"id": "org/set", "task_id": "main"}, "value": 0.9, "date": "2026-01-02"}]
    assert exporters.huggingface([published(record())], {}) == []


def test_csv_runs_nothing_and_keeps_negative_numbers() -> None:
    text = csv_file(("a", "b"), [["=1+1", "-0.5"], ["-cmd", "+1"], ["@x", "plain"]]).decode()
    assert text == "a,b\r\n'=1+1,-0.5\r\n'-cmd,'+1\r\n'@x,plain\r\n"


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("t/errors/t", True),
        ("t/latency_p95_seconds/t", True),
        ("asr/wer/x", True),
        ("gsm8k/exact_match/flexible", False),
        ("answers/gloss/answer", False),
        ("t/error_rate/t", True),
    ],
)
def test_which_metrics_are_better_lower(name: str, lower: bool) -> None:
    assert exporters.lower_is_better(Metric(name=name, value=0.1)) is lower
