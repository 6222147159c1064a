"""The normal form: once what tasks share, then what differs; and back to the very same tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.models import Task
from catalog.normal_form import Definition, Malformed, common, difference, from_data, merge, same, to_data
from catalog.yaml_reading import read_yaml
from catalog.yaml_text import dump
from samples import task

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([0.0, -0.0, 1.0, 1e-7]),
    st.text("ab", max_size=3),
)
KEYS = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=3),
    max_leaves=8,
)
WHOLES = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=5)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    wholes = draw(WHOLES)
    tasks = []
    for at, whole in enumerate(wholes):
        config = {"type": f"t{at}", "params": {"extra": whole}}
        defaults: dict[str, Any] = {"command": draw(st.sampled_from(["run", "other"])), "config": config}
        if draw(st.booleans()):
            defaults["target"] = draw(st.dictionaries(KEYS, VALUES, max_size=2))
        parts = draw(st.sampled_from([(), ("one", "two")]))
        tasks.append(
            Task(
                harness="h",
                name=f"t{at}",
                description="\n".join(parts) or draw(st.text("ab", max_size=2)),
                defaults=defaults,
                title=draw(st.sampled_from([None, "Title"])),
                internal=draw(st.booleans()),
                description_parts=parts,
                dates=draw(st.sampled_from([(), ("/config/params/extra/a",)])),
                other=draw(st.sampled_from([{}, {"tags": ["x"]}])),
            )
        )
    commands = {each.command for each in tasks}
    return Definition(
        name="h",
        pkg_name="h_pkg",
        tasks=tuple(tasks),
        full_name=draw(st.sampled_from([None, "H"])),
        command=commands.pop() if len(commands) == 1 else None,
        other=draw(st.sampled_from([{}, {"source": "x"}])),
    )


@given(WHOLES)
def test_a_difference_merges_back_to_the_very_same_data(wholes: list[dict[str, Any]]) -> None:
    base = common(wholes)
    for whole in wholes:
        assert same(merge(base, difference(base, whole)), whole)


@given(definitions())
def test_expanding_gives_back_what_was_normalised(definition: Definition) -> None:
    again = from_data(to_data(definition))
    assert again == definition
    for old, new in zip(definition.tasks, again.tasks, strict=True):
        assert same(new.defaults, old.defaults)


@given(definitions())
def test_the_text_is_the_same_after_a_round_trip_through_files(definition: Definition) -> None:
    text = dump(to_data(definition))
    read = read_yaml(text.encode()).value
    assert dump(to_data(from_data(read))) == text
    # The cache keeps JSON.
    assert dump(to_data(from_data(json.loads(json.dumps(read))))) == text


def test_the_order_of_keys_does_not_show() -> None:
    one = task("h", "t", params={"a": {"x": 1, "y": 2}, "b": 1})
    other = task("h", "t", params={"b": 1, "a": {"y": 2, "x": 1}})
    texts = {dump(to_data(Definition(name="h", pkg_name="h", tasks=(each,)))) for each in (one, other)}
    assert len(texts) == 1


def test_commands_and_defaults_stand_once() -> None:
    tasks = tuple(task("h", f"t{n}", params={"limit": n % 2}) for n in range(5))
    data = to_data(Definition(name="h", pkg_name="h", tasks=tasks))
    assert data["defaults"]["config"]["params"] == {"extra": {}, "limit": 0, "top_p": 0.9}
    assert data["tasks"][0] == {"name": "t0", "description": "About t0."}
    assert data["tasks"][1]["differs"] == {"config": {"params": {"limit": 1}}}
    assert dump(data).count("run {{") == 1


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        (1, 1.0, False),
        (1, True, False),
        (0.0, -0.0, False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": [1]}, {"a": [1.0]}, False),
        ([], {}, False),
        (None, False, False),
        ("1", 1, False),
    ],
)
def test_same_tells_types_apart(left: Any, right: Any, alike: bool) -> None:
    assert same(left, right) is alike


def test_a_mapping_that_is_something_else_elsewhere_is_not_shared() -> None:
    wholes: list[dict[str, Any]] = [{"a": {"x": 1}}, {"a": {"x": 1}}, {"a": None}]
    assert common(wholes) == {}


GOOD = {
    "version": 1,
    "harness": "h",
    "pkg_name": "h",
    "command": "run",
    "defaults": {},
    "tasks": [{"name": "t", "description": ""}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version: expected 1, found 2"),
        ({"harness": "../etc"}, "harness: not a name: '../etc'"),
        ({"harness": "a.b"}, "harness: not a name: 'a.b'"),
        ({"pkg_name": 1}, "pkg_name: expected text, found int"),
        ({"tasks": {}}, "tasks: expected a list, found dict"),
        ({"defaults": None}, "defaults: expected a mapping, found NoneType"),
        ({"command": None}, "command: expected text, found NoneType"),
        ({"tasks": [{"name": "a/b", "description": ""}]}, "tasks[0].name: not a name: 'a/b'"),
        ({"tasks": [{"name": "t"}]}, "tasks[0].description: expected text, found NoneType"),
        ({"tasks": [1]}, "tasks[0]: expected a mapping, found int"),
        (
            {"tasks": [{"name": "t", "description": "", "differs": {"config": 1}}]},
            "tasks[0].differs.config: expected a mapping, found int",
        ),
        (
            {"tasks": [{"name": "t", "description": "", "differs": {"command": 1}}]},
            "tasks[0]: command: expected text, found int",
        ),
        (
            {"tasks": [{"name": "t", "description": "", "dates": [1]}]},
            "tasks[0].dates[0]: expected text, found int",
        ),
        ({"other": []}, "other: expected a mapping, found list"),
    ],
)
def test_data_of_another_shape_is_malformed(change: dict[str, Any], message: str) -> None:
    assert from_data(GOOD).tasks[0].defaults == {"command": "run", "config": {"type": "t"}}
    with pytest.raises(Malformed) as caught:
        from_data({**GOOD, **change})
    assert str(caught.value) == message


@pytest.mark.parametrize("data", [None, [], "text", 1])
def test_what_is_no_mapping_is_malformed(data: Any) -> None:
    with pytest.raises(Malformed, match="the file: expected a mapping"):
        from_data(data)
