"""Reading YAML that nobody vouches for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog.yaml_reading import YamlMistakes, read_yaml, spelled
from catalog.yaml_text import DateText
from yaml_dates import undated


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(YamlMistakes) as caught:
        read_yaml(text if isinstance(text, bytes) else text.encode())
    return caught.value.problems


SAMPLES = """\
a: 1:20
b: [0o7, 010, 0x1f, 1e3, 1.0e+3, 1_000, 1e-7]
c: {yes: no, "on": "off", ~: ~}
d: 2024-07-01
e: 2024-07-01 10:00:00+02:00
f: !!str 12
g: !!float 3
h: !!int "7"
i: !!null ""
j: !!bool "yes"
k: >-
  folded
  text
l: |
  literal
m: [a, [b, {c: d}]]
n: &anchor {p: 1, q: 2}
o: {<<: *anchor, q: 3, r: 4}
s: [{<<: [{p: 1}, {p: 2, t: 5}]}]
u: *anchor
v:
w: ""
"""


def test_plain_data_means_what_it_means_to_pyyaml() -> None:
    text = SAMPLES.replace("yes: no, ", "").replace(", ~: ~", "")
    assert repr(read_yaml(text.encode()).value) == repr(undated(yaml.safe_load(text)))


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=5),
        st.recursive(
            st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=20), st.dates()),
            lambda values: (
                st.lists(values, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), values, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data)
    assert read_yaml(text.encode()).value == undated(yaml.safe_load(text))


def test_dates_are_texts_that_say_so() -> None:
    document = read_yaml(b"a: 2024-07-01\nb: '2024-07-01'\n")
    assert document.value == {"a": "2024-07-01", "b": "2024-07-01"}
    assert isinstance(document.value["a"], DateText)
    assert type(document.value["b"]) is str
    assert document.dates


def test_lines_of_values() -> None:
    lines = read_yaml(b"a:\n  - b: 1\n    c: 2\nd: 3\n").lines
    assert lines["a", 0, "c"] == 3
    assert lines["d",] == 4


def test_all_mistakes_are_told_with_their_paths() -> None:
    assert problems(
        "a: 1\na: 2\nlist:\n  - x: .inf\n    y: !!binary aaaa\n    on: 1\n    z: 2024-13-01\n"
        "    ? [k]\n    : v\n    w: =\n    '<<': 1\n    <<: 7\n"
    ) == [
        "a: this key stands twice, first in line 1 (line 2)",
        "list[0].x: '.inf': not a finite number (line 4)",
        "list[0].y: 'aaaa' with the tag 'tag:yaml.org,2002:binary' is not plain data; quote it (line 5)",
        "list[0]: the key on is not text: YAML 1.1 reads it as a boolean; quote it (line 6)",
        "list[0].z: '2024-13-01': month must be in 1..12 (line 7)",
        "list[0]: a key that is not text but a list or mapping (line 8)",
        "list[0].w: '=' with the tag 'tag:yaml.org,2002:value' is not plain data; quote it (line 10)",
        "list[0]: << takes a mapping or a list of mappings (line 12)",
    ]


@pytest.mark.parametrize(
    ("key", "kind"), [("1", "a number"), ("1.5", "a number"), ("~", "null"), ("2024-01-01", "a date")]
)
def test_keys_are_texts(key: str, kind: str) -> None:
    assert problems(f"{key}: x") == [
        f"the key {key} is not text: YAML 1.1 reads it as {kind}; quote it (line 1)"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("a: [1", "line [12], column"),
        ("--- 1\n--- 2\n", "line 2: a second document begins"),
        ("a: *b", r"a: the alias \*b stands for nothing"),
        ("a: &a {x: *a}", r"a.x: the alias \*a contains itself \(line 1\)"),
        (f"{'k' * 300}: 1", "a key of more than 256 characters"),
        ("a: !!python/object/apply:os.system [x]", "makes something else than plain data"),
        ("a: !custom {}", "makes something else than plain data"),
        ("a: !custom x", "is not plain data"),
        (b"a: \xff\xfe", "unacceptable character|invalid|utf-8"),
        (b"a: \x00", "control characters|special characters"),
        ('a: "\\ud800"', "invalid Unicode|surrogate"),
        ("a: " + "9" * 5000, "a: '9999"),
    ],
)
def test_texts_that_are_refused(text: str | bytes, problem: str) -> None:
    with pytest.raises(YamlMistakes, match=problem):
        read_yaml(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 500_000,
        b"{a: " * 100_000,
        b"- " * 100_000 + b"x",
        b"".join(
            b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10) if n else b"x")
            for n in range(12)
        ),
        b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a, " * 100_000 + b"]\n",
    ],
    ids=["brackets", "braces", "dashes", "billion laughs", "one long text"],
)
def test_bombs_end_early(bomb: bytes) -> None:
    # Without limits these take minutes, all memory, or the stack; the test run's own timeout would tell.
    last = problems(bomb)[-1]
    assert "nested deeper" in last or "aliases expand" in last


def test_repeated_mistakes_stop_somewhere() -> None:
    found = problems("\n".join(f"a: {n}" for n in range(1000)))
    assert len(found) == 101
    assert found[-1] == "and perhaps more"


def test_size_is_limited() -> None:
    with pytest.raises(YamlMistakes, match="larger than 10 bytes"):
        read_yaml(b"a: 1234567890", max_bytes=10)


def test_nothing_is_nothing() -> None:
    assert read_yaml(b"").value is None
    assert read_yaml(b"# only a comment\n").value is None


def test_paths_are_spelled_as_people_write_them() -> None:
    assert spelled(("evaluations", 3, "defaults", "config")) == "evaluations[3].defaults.config"
    assert spelled(()) == ""
