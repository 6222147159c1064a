"""Values of every kind, in every place of a command, read back from a real shell."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import Refused
from launcher.plans.quoting import Protected

HOSTILE = [
    "plain",
    "two words",
    "$(touch pwned)",
    "`touch pwned`",
    "a'b",
    'a"b',
    "a\\b",
    "line\nbreak",
    "; touch pwned #",
    "&& touch pwned",
    "*",
    "~",
    "!!",
    "grüße 😀",
    "$HOME",
    "${IFS}",
    "-n",
    "\\",
    "'",
    '"',
    "EVALDOCKVALUE0E",
]

PRINT = "printf '%s\\0' "
PLACES = {
    "bare": PRINT + "{v}",
    "glued": PRINT + "a={v},b",
    "double": PRINT + '"a={v} b"',
    "single": PRINT + "'a={v} b'",
    "substitution": PRINT + '"$(printf %s {v})"',
    "double in substitution": PRINT + '"$(printf %s "x{v}")"',
    "after subshell": '(true) && if [ "x" = "x" ]; then ' + PRINT + "{v}; fi",
    "arithmetic before": ": $((1 + (2))); " + PRINT + "{v}",
    "escaped quote before": PRINT + '"\\"" ' + "{v}",
    "python in single quotes": "python3 -c 'import sys; sys.stdout.write(\"{v}\" + chr(0))'",
}
FRAMES = {
    "glued": ("a=", ",b"),
    "double": ("a=", " b"),
    "single": ("a=", " b"),
    "double in substitution": ("x", ""),
}


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, check=True, timeout=20)
    return done.stdout.decode().rstrip("\0").split("\0")[-1]


def arrives(value: str, place: str, folder: Path) -> None:
    protected = Protected()
    command = PLACES[place].replace("{v}", protected.protect(value))
    before, after = FRAMES.get(place, ("", ""))
    # A command substitution drops newlines at its end; that is the template's doing, not the value's.
    expected = value.rstrip("\n") if "substitution" in place else value
    assert shell(protected.reveal(command), folder) == f"{before}{expected}{after}"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_arrives_unchanged_and_executes_nothing(value: str, place: str, tmp_path: Path) -> None:
    arrives(value, place, tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    place=st.sampled_from(["bare", "double", "single", "glued"]),
)
def test_any_text_arrives(tmp_path_factory: pytest.TempPathFactory, value: str, place: str) -> None:
    arrives(value, place, tmp_path_factory.mktemp("any"))


def test_json_in_single_quotes_stays_json(tmp_path: Path) -> None:
    protected = Protected()
    data = protected.protect({"a": 'it\'s "quoted"\n$(touch pwned)', "b": ["x y", 3], "c": "plain"})
    command = f"printf %s '{json.dumps(data)}'"
    expected = {"a": 'it\'s "quoted"\n$(touch pwned)', "b": ["x y", 3], "c": "plain"}
    assert json.loads(shell(protected.reveal(command), tmp_path)) == expected
    assert list(tmp_path.iterdir()) == []


def test_args_are_split_into_words_that_execute_nothing(tmp_path: Path) -> None:
    protected = Protected()
    token = protected.protect({"args": "--a 'b c' $(touch pwned) ; echo no"})["args"]
    command = protected.reveal(f"printf '%s|' {token}")
    assert shell(command, tmp_path) == "--a|b c|$(touch|pwned)|;|echo|no|"
    assert list(tmp_path.iterdir()) == []


def test_plain_values_are_left_alone() -> None:
    protected = Protected()
    value = {"url": "http://127.0.0.1:8000/v1/chat/completions", "n": 3, "none": None, "empty": ""}
    assert protected.protect(value) == value
    assert protected.reveal("a command, whatever it is") == "a command, whatever it is"


@pytest.mark.parametrize("command", ["cat <<EOF\n{v}\nEOF", "echo `printf %s {v}`"])
def test_where_no_quoting_holds_is_refused(command: str) -> None:
    protected = Protected()
    with pytest.raises(Refused, match=r"use letters, digits"):
        protected.reveal(command.replace("{v}", protected.protect("a b")))


def test_a_nul_byte_is_refused() -> None:
    with pytest.raises(Refused, match=r"model_id holds a NUL byte"):
        Protected().protect({"model_id": "a\0b"})
