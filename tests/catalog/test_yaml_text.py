"""The emitter: what it writes is read back alike by every YAML reader."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog.yaml_text import WIDTH, DateText, dump, seal, sealed

LOADERS = [yaml.SafeLoader, pytest.param(getattr(yaml, "CSafeLoader", yaml.SafeLoader), id="C")]

# Texts that some YAML reader takes for something else when they stand unquoted.
AMBIGUOUS = re.split(
    r"\s+",
    """\
yes Yes YES no No NO on On ON off Off OFF y Y n N true True TRUE false False FALSE null Null NULL ~ =
<< - ? : 1 -1 +1 0 007 0o7 0x1f 0b1 1_000 1:20 190:20:30 1.5 .5 1. 1e3 1e-7 1.0e+3 .inf -.inf .nan .NaN
2024-07-01 2024-07-01T10:00:00Z [a] {a} a: !a &a *a | > % @ ` ' " # #a --- ... <<: - :""",
)
HOSTILE = [
    "",
    " ",
    " x",
    "x ",
    "\t",
    "x\n",
    "\n",
    "\nx",
    "a\n\n\nb\n\n",
    "  a\n b",
    "a\n  b\n",
    "a\n \nb",
    "a\r\nb",
    "a\x85b",
    "a\u2028b",
    "a\ufeffb",
    "\x00\x07\x1b[31m\x7f\x9b",
    "\u202egnp.exe",
    "a: b",
    "a #b",
    "- a",
    "---\na",
    "é 日本 😀",
    "'\"\\",
    "{% if a %}{{ b }}{% endif %}",
    "word " * 60 + "end",
    "word  twice " * 30 + "end",
    "# no comment " * 20 + "end",
    "x" * 300,
    "line one\n" + "word " * 60 + "\n\tindented\nlast",
]
TEXTS = st.one_of(
    st.sampled_from([*AMBIGUOUS, *HOSTILE]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text("ab \n\t#:-'\"\\", max_size=150),
)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=4), st.dictionaries(TEXTS, values, max_size=4), st.tuples(values)
    ),
    max_leaves=10,
)


def as_read(value: Any) -> Any:
    """Tuples are lists to YAML."""
    if isinstance(value, dict):
        return {key: as_read(each) for key, each in value.items()}
    return [as_read(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("loader", LOADERS)
@given(data=st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_back_exactly(loader: Any, data: dict[str, Any]) -> None:
    # repr tells 1 from 1.0 and True, and 0.0 from -0.0.
    assert repr(yaml.load(dump(data).encode(), Loader=loader)) == repr(as_read(data))


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_ambiguous_texts_are_quoted_as_values_and_as_keys(text: str) -> None:
    lines = dump({text: text, "list": [text]}).splitlines()
    assert all('"' in line for line in (lines[0].partition(": ")[0], lines[0].rpartition(": ")[2], lines[2]))


def test_ordinary_texts_stand_as_they_are() -> None:
    data = {
        "name": "lm-evaluation-harness",
        "url": "https://example.org/a?b=c"[:21],
        "image": "registry.example/team/name:1.0",
        "words": "two words",
    }
    assert dump(data) == (
        "name: lm-evaluation-harness\n"
        "url: https://example.org/a\n"
        "image: registry.example/team/name:1.0\n"
        "words: two words\n"
    )


def test_nested_data_is_laid_out_in_blocks() -> None:
    data = {"a": {"b": [1, [2, []], {"c": "x\n y\n", "d": None}], "e": 1e-7}, "f": {}}
    assert dump(data) == (
        "a:\n"
        "  b:\n"
        "    - 1\n"
        "    -\n"
        "      - 2\n"
        "      - []\n"
        "    - c: |\n"
        "        x\n"
        "         y\n"
        "      d: null\n"
        "  e: 1.0e-07\n"
        "f: {}\n"
    )


def test_long_texts_are_folded_into_lines() -> None:
    text = dump({"description": "word " * 100 + "end"})
    assert text.startswith("description: >-\n  word word ")
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_key_too_long_for_one_line_is_marked() -> None:
    data = {"k" * 2000: {"a": 1}}
    assert dump(data).startswith("? kkk")
    assert yaml.safe_load(dump(data)) == data


def test_dates_stand_unquoted() -> None:
    assert (
        dump({"day": DateText("2024-07-01"), "text": "2024-07-01"}) == 'day: 2024-07-01\ntext: "2024-07-01"\n'
    )


@pytest.mark.parametrize(
    "value", [float("inf"), float("nan"), b"bytes", {1, 2}, object(), "\ud800", "a\n\ud800", {1: 2}]
)
def test_what_is_not_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not plain data|surrogate|not text"):
        dump({"key": value})


def test_the_seal_breaks_when_anything_below_it_changes() -> None:
    data = seal("a: 1\n")
    assert sealed(data) is True
    assert sealed(data.replace(b"a: 1", b"a: 2")) is False
    assert sealed(data + b"\n") is False
    assert sealed(b"a: 1\n") is None
    assert sealed(b"") is None
    assert yaml.safe_load(data) == {"a": 1}
