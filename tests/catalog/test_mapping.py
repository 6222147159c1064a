"""mapping.toml: read with lines, all mistakes at once, edited without touching what people wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import tomli
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from catalog import mapping
from catalog.errors import InvalidInput, NotFound
from catalog.mapping import parse, read
from catalog.mapping_edit import TEMPLATE, with_entries
from catalog.models import MappingEntry
from catalog.references import Transport
from catalog.toml_lines import lines_of

FULL = """\
# A catalog.

[first]
container = "registry.example/team/first:1.0"

["second"] # a quoted key
platform = "linux/arm64/v8"
packages = [
  "second==1.0", # ] not the end
  "./harnesses/second",
]
abilities = ["resume", "shards"]
container = 'oci:layouts/second:latest'
"""


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), Path("catalog/mapping.toml"))
    assert caught.value.place == "catalog/mapping.toml"
    return list(caught.value.problems)


def test_entries_come_in_the_files_order_with_the_line_of_their_container(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(FULL)
    found = read(path)
    assert found.entries == (
        MappingEntry(key="first", container="registry.example/team/first:1.0"),
        MappingEntry(
            key="second",
            container="oci:layouts/second:latest",
            platform="linux/arm64/v8",
            packages=("second==1.0", "./harnesses/second"),
            abilities=("resume", "shards"),
        ),
    )
    assert [entry.line for entry in found.entries] == [4, 13]
    assert found.sha256 == hashlib.sha256(FULL.encode()).hexdigest()
    assert found.raw == FULL.encode()
    assert found.warnings == ()


def test_paths_of_layouts_start_at_the_catalog(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(FULL)
    found = read(path)
    image = found.image(found.entry("second"))
    assert (image.transport, image.path, image.tag) == (Transport.OCI, tmp_path / "layouts/second", "latest")


def test_an_entry_that_is_not_there_gets_suggestions() -> None:
    found = parse(FULL.encode(), Path("mapping.toml"))
    with pytest.raises(NotFound, match="no entry 'frist'; did you mean 'first'") as caught:
        found.entry("frist")
    assert caught.value.exit_code == 3


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="evaldock init"):
        read(tmp_path / "mapping.toml")


def test_the_mapping_of_the_other_launcher_is_read_as_it_is() -> None:
    text = """\
# Workflow diagram: …

[long_context_eval]
container = "registry.example/evals/long-context-eval:26.03"
# container-digest:sha256:ab3aa4a83cac15e10e198f0b3a34eb8476cddd52621eb6a4f7c9c47a72a53524

[aa-lcr]
container = "registry.example/evals/aa-lcr:26.03"
# container-digest:sha256:c1abe4e1832a2a7783153ab9547cfec59fc616f57ad4400a775eaad0d0fd53bc
"""
    found = parse(text.encode(), Path("mapping.toml"))
    assert [entry.key for entry in found.entries] == ["long_context_eval", "aa-lcr"]
    assert found.warnings == ()


def test_unknown_keys_are_warned_about() -> None:
    found = parse(b'[a]\ncontainer = "x/y"\ncontaner = 1\nzebra = 2\n', Path("mapping.toml"))
    assert sorted(found.warnings) == [
        "line 3: a.contaner: unknown key; did you mean 'container'?",
        "line 4: a.zebra: unknown key",
    ]


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    assert problems("""\
top = 1
["has space"]
container = "x/y"
[a]
[b]
container = 7
[c]
container = "UPPER/x:1"
platform = "linux"
packages = "one"
abilities = ["resume", "fly"]
[d]
container = "oci:/absolute/path"
packages = ["ok", "--index-url=x"]
[e]
container = "docker-daemon:name:tag"
[f]
container = "x/y\\u001b[31m"
platform = 3
""") == [
        "line 1: top: expected a table [top], found a number",
        "line 2: has space: an entry is named by letters, digits, '.', '_', '-' and '+', at most 100",
        'line 4: a.container: missing; expected for example container = "registry.example/team/name:1.0"',
        "line 6: b.container: expected text, found a number",
        "line 8: c.container: invalid image name 'UPPER/x' in 'UPPER/x:1' (lower-case letters and digits,"
        " separated by '.', '_', '-' and '/')",
        "line 9: c.platform: expected for example 'linux/amd64', found 'linux'",
        "line 10: c.packages: expected a list of texts",
        "line 11: c.abilities: unknown ability 'fly'; known are resume, shards",
        "line 13: d.container: an oci: path in a catalog is relative to the folder of mapping.toml",
        "line 14: d.packages: neither a requirement nor a folder: '--index-url=x'",
        "line 16: e.container: docker-daemon: is for one machine; a catalog names a registry or oci:",
        "line 18: f.container: not printable: 'x/y\\x1b[31m'",
        "line 19: f.platform: expected for example 'linux/amd64', found 3",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[a\n", "at line 1"),
        (b"[a]\ncontainer = 1\n[a]\n", "at line 3"),
        (b"\xff", "invalid start byte"),
        (b"#" * (mapping.MAX_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_toml_says_so(text: bytes, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


def test_an_empty_mapping_has_no_entries() -> None:
    assert parse(b"", Path("mapping.toml")).entries == ()


def test_lines_of_every_way_to_write_a_key() -> None:
    text = '''\
a.b = 1
"q.r"."s" = 2   # comment with [brackets] and = signs
inline = { x = 1, y = [1, 2] }
long = """
[not.a.table]
not = "a key"
"""
raw = \'\'\'
x = 1\'\'\'
list = [ # [
  "]", \'[\',
]
[ spaced . "table" ]
key='x#y' # z
[[many]]
k = 1
'''
    assert tomli.loads(text)
    assert lines_of(text) == {
        ("a", "b"): 1,
        ("q.r", "s"): 2,
        ("inline",): 3,
        ("long",): 4,
        ("raw",): 8,
        ("list",): 10,
        ("spaced", "table"): 13,
        ("spaced", "table", "key"): 14,
        ("many",): 15,
        ("many", "k"): 16,
    }


ENTRIES = st.builds(
    MappingEntry,
    key=st.from_regex(mapping.KEY.pattern, fullmatch=True).filter(lambda key: len(key) < 20),
    container=st.from_regex(r"[a-z][a-z0-9]{0,5}/[a-z][a-z0-9]{0,5}:[a-z0-9]{1,4}", fullmatch=True),
    packages=st.lists(st.sampled_from(["p==1", 'p["x"]', "./a # b", "q'r"]), max_size=2).map(tuple),
    abilities=st.sampled_from([(), ("resume",)]),
    platform=st.sampled_from([None, "linux/amd64"]),
)


@given(st.lists(ENTRIES, unique_by=lambda entry: entry.key, max_size=4))
def test_entries_that_are_written_are_read_back(entries: list[MappingEntry]) -> None:
    text = with_entries(TEMPLATE, entries)
    assert text.startswith(TEMPLATE)
    found = parse(text.encode(), Path("mapping.toml"))
    assert found.entries == tuple(entries)
    lines = text.splitlines()
    assert all(lines[entry.line - 1].startswith("container = ") for entry in found.entries)


def test_adding_an_entry_leaves_what_stands_there() -> None:
    text = with_entries(FULL, [MappingEntry(key="third", container="x/y:1")])
    assert text == f'{FULL}\n[third]\ncontainer = "x/y:1"\n'


NASTY = st.text("ab.=#[]{}\"'\\ \n", max_size=8)


@given(
    st.dictionaries(
        NASTY, st.dictionaries(NASTY, st.one_of(NASTY, st.lists(NASTY, max_size=3)), max_size=3), max_size=3
    )
)
def test_every_key_has_its_line_whatever_stands_around_it(tables: dict[str, dict[str, object]]) -> None:
    text = tomlkit.dumps(tables)
    assert tomli.loads(text) == tables
    found = lines_of(text)
    lines = text.split("\n")
    for name, table in tables.items():
        for key in table:
            assert "=" in lines[found[name, key] - 1]
    assert sorted(path for path in found if len(path) == 2) == sorted(
        (name, key) for name, table in tables.items() for key in table
    )


def test_nesting_without_end_is_a_mistake() -> None:
    (found,) = problems("a = " + "[" * 100_000)
    assert "nested" in found
