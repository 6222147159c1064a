"""The JSON of tables of contents, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.layers.member import Kind, Member
from generator.layers.toc_entries import MalformedToc, parse

TYPES = ["reg", "chunk", "dir", "symlink", "hardlink", "char", "door"]
ANYTHING: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([]) | st.just({})
)
ENTRY = st.fixed_dictionaries(
    {"name": st.text(max_size=12) | ANYTHING, "type": st.sampled_from(TYPES) | ANYTHING},
    optional={
        key: st.integers(-2, 300) | ANYTHING
        for key in ("size", "offset", "endOffset", "innerOffset", "chunkOffset", "chunkSize")
    }
    | {key: st.just("sha256:" + "0" * 64) | ANYTHING for key in ("digest", "chunkDigest")}
    | {"linkName": st.text(max_size=8) | ANYTHING, "xattrs": st.dictionaries(st.text(max_size=6), ANYTHING)},
)


@given(st.lists(ENTRY, max_size=5), st.integers(0, 200))
def test_anything_gives_sane_places_or_none(entries: list[dict[str, Any]], end: int) -> None:
    data = json.dumps({"version": 1, "entries": entries}).encode()
    try:
        members, places = parse(data, end)
    except MalformedToc:
        return
    assert len(members) == sum(entry["type"] != "chunk" for entry in entries)
    for place in places.values():
        assert 0 <= place.start < place.end <= end


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./opt//metadata/./a/", "opt/metadata/a"),
        ("/opt/../etc/passwd", "etc/passwd"),
        ("../../etc", "etc"),
        ("./", ""),
        ("caf\u00e9", "caf\u00e9"),
    ],
)
def test_names_are_relative_to_the_root(name: str, path: str) -> None:
    data = json.dumps({"version": 1, "entries": [{"name": name, "type": "dir"}]}).encode()
    assert parse(data, 100)[0] == (Member(path, Kind.DIRECTORY),)


def test_a_name_that_is_no_name_is_only_odd() -> None:
    data = b'{"version": 1, "entries": [{"name": "\\ud800", "type": "dir"}]}'
    (member,) = parse(data, 100)[0]
    assert member.kind is Kind.DIRECTORY
    assert member.path != ""


def test_files_that_share_a_stream_end_where_the_next_stream_starts() -> None:
    entries = [
        {"name": "a", "type": "reg", "size": 5, "offset": 10, "innerOffset": 512},
        {"name": "b", "type": "reg", "size": 5, "offset": 10, "innerOffset": 1536},
        {"name": "c", "type": "reg", "size": 5, "offset": 60},
        {"name": "c", "type": "chunk", "offset": 80, "chunkOffset": 3},
    ]
    _, places = parse(json.dumps({"version": 1, "entries": entries}).encode(), 100)
    assert {name: (place.start, place.end, place.skip) for name, place in places.items()} == {
        "a": (10, 60, 512),
        "b": (10, 60, 1536),
        "c": (60, 100, 0),
    }
