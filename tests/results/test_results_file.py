"""results.yml: what harnesses leave, whole or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.errors import InvalidInput, NotFound
from launcher.results import results_file

GOOD = b"""
git_hash: abc
config: {type: t}
results:
  tasks:
    t:
      metrics:
        accuracy:
          scores: {micro: {value: 0.5, stats: {count: 10, stderr: 0.15, odd: text}}, macro: {value: 1}}
  groups:
    g:
      metrics: {m: {scores: {s: {value: 2, stats: {}}}}}
      groups:
        inner: {metrics: {m: {scores: {s: {value: 3}}}}}
"""


def test_reads_nested_groups_then_tasks() -> None:
    read = results_file.parse(GOOD, "results.yml")
    assert [(m.name, m.value, m.count, m.stderr) for m in read.metrics] == [
        ("g/m/s", 2.0, None, None),
        ("g/inner/m/s", 3.0, None, None),
        ("t/accuracy/micro", 0.5, 10, 0.15),
        ("t/accuracy/macro", 1.0, None, None),
    ]
    assert (read.config, read.git_hash) == ({"type": "t"}, "abc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "results: expected a mapping"),
        (b"results: []", "results: expected a mapping"),
        (b"results: {}", "results: holds no score"),
        (b"results: {tasks: [1]}", "results.tasks: expected a mapping"),
        (
            b"results: {tasks: {t: {metrics: {m: {scores: {s: {value: high}}}}}}}",
            "results.tasks.t.metrics.m.scores.s.value: expected a number",
        ),
        (
            b"results: {tasks: {t: {metrics: {m: {scores: {s: {value: .nan}}}}}}}",
            "results.tasks.t.metrics.m.scores.s.value",
        ),
        (b"results: {tasks: {t: {metrics: {m: 3}}}}", "results.tasks.t.metrics.m.scores: expected a mapping"),
        (b"results: {tasks: {t: {metrics: [", "not a results file"),
        (b"\xff\xfe\x00", "not a results file"),
    ],
)
def test_a_broken_file_is_told_where(text: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        results_file.parse(text, "results.yml")
    assert expected in str(caught.value)


def test_every_mistake_at_once() -> None:
    text = b"results: {tasks: {a: 1, b: {metrics: {m: {scores: {s: {value: x}}}}}}}"
    with pytest.raises(InvalidInput) as caught:
        results_file.parse(text, "results.yml")
    assert len(caught.value.problems) == 2


def test_no_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"the harness left no results\.yml"):
        results_file.read(tmp_path)


def test_deep_nesting_ends(tmp_path: Path) -> None:
    text = "results: {groups: " + "{g: {groups: " * 40 + "{}" + "}}" * 40 + "}"
    with pytest.raises(InvalidInput):
        results_file.parse(text.encode(), "results.yml")
