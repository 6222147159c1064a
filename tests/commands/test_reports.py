from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from catalog.findings import Finding, Severity
from generator.reports import as_github, as_sarif, as_text, finding_data, summary

MOVED = Finding(
    severity=Severity.ERROR,
    code="tag-moved",
    message="100% of it:\r\n::set-output name=x::y, moved",
    file="mapping.toml",
    line=7,
    hint="run `evaldock sync`",
)
ODD = Finding(severity=Severity.WARNING, code="odd", message="a\x1b[2J b")
ALL = [MOVED, ODD, Finding(severity=Severity.NOTE, code="note", message="by the way", file="ir/a.yaml")]


def locate(file: str) -> str:
    return f"evals, 1:a/{file}"


def test_text_names_place_message_and_next_step() -> None:
    styled = as_text(ALL, locate)
    assert re.sub(r"\x1b\[\d+m", "", styled).splitlines() == [
        "evals, 1:a/mapping.toml:7: error: 100% of it: ::set-output name=x::y, moved [tag-moved]",
        "  run `evaldock sync`",
        r"warning: a\x1b[2J b [odd]",
        "evals, 1:a/ir/a.yaml: note: by the way [note]",
    ]


def test_annotations_are_escaped_as_the_runner_reads_them() -> None:
    assert as_github(ALL, locate).split("\n") == [
        "::error file=evals%2C 1%3Aa/mapping.toml,line=7,title=evaldock%3A tag-moved"
        "::100%25 of it:%0D%0A::set-output name=x::y, moved%0Arun `evaldock sync`",
        "::warning title=evaldock%3A odd::a\\x1b[2J b",
        "::notice file=evals%2C 1%3Aa/ir/a.yaml,title=evaldock%3A note::by the way",
    ]


def test_an_annotation_read_by_the_runners_rules_gives_back_the_finding() -> None:
    line = as_github([MOVED], locate)
    command, data = re.fullmatch(r"::(.*?)::(.*)", line).groups()  # type: ignore[union-attr]
    name, _, properties = command.partition(" ")
    values = dict(part.split("=", 1) for part in properties.split(","))
    assert name == "error"
    assert {key: _undone(value, ":,") for key, value in values.items()} == {
        "file": "evals, 1:a/mapping.toml",
        "line": "7",
        "title": "evaldock: tag-moved",
    }
    assert _undone(data, "") == f"{MOVED.message}\n{MOVED.hint}"


def _undone(text: str, more: str) -> str:
    for character in (*more, "\n", "\r", "%"):
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def test_json_data_has_every_field() -> None:
    assert finding_data(ODD, locate) == {
        "severity": "warning",
        "code": "odd",
        "message": "a\x1b[2J b",
        "file": None,
        "line": None,
        "hint": None,
    }


def test_sarif_has_the_shape_that_the_standard_asks_for() -> None:
    log = as_sarif(ALL, locate)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "evaldock"
    assert re.fullmatch(r"\d+\.\d+\.\d+([-+].*)?", driver["semanticVersion"])
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for result, finding in zip(run["results"], ALL, strict=True):
        assert ids[result["ruleIndex"]] == result["ruleId"] == finding.code
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"].startswith(finding.message)
    assert _location(run["results"][0]) == {
        "artifactLocation": {"uri": "evals%2C%201%3Aa/mapping.toml"},
        "region": {"startLine": 7},
    }
    assert unquote("evals%2C%201%3Aa/mapping.toml") == locate("mapping.toml")
    assert "locations" not in run["results"][1]
    assert _location(run["results"][2])["region"] == {"startLine": 1}


def _location(result: dict[str, Any]) -> Any:
    return result["locations"][0]["physicalLocation"]


def test_a_summary_counts_what_there_is() -> None:
    assert summary(ALL) == "1 error, 1 warning, 1 note"
    assert summary([MOVED, MOVED]) == "2 errors"
    assert summary([]) == ""
