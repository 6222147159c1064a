"""The offline check: what is said, about which line, with which next step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog import drift, store
from catalog.findings import Finding, Severity
from catalog.models import EntryState
from synthetic import make_catalog


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # The second and third of four entries say more than their container; the last read of none was partial.
    return make_catalog(tmp_path / "catalog", harnesses=3, tasks=9)


def said(root: Path) -> list[tuple[str, str, str]]:
    return [(finding.severity.value, finding.code, str(finding)) for finding in drift.check(root)]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_sync_left_is_in_order(root: Path) -> None:
    assert drift.check(root) == ()


def test_a_changed_container_is_told_on_its_line(root: Path) -> None:
    edit(root / "mapping.toml", "harness-001:1.1", "harness-001:1.2")
    assert drift.check(root) == (
        Finding(
            severity=Severity.ERROR,
            code="entry-changed",
            message="container of 'harness-001' is 'registry.example/evals/harness-001:1.2', the IR was read"
            " for 'registry.example/evals/harness-001:1.1'",
            file="mapping.toml",
            line=6,
            hint="run `evaldock sync`",
        ),
    )


def test_other_fields_are_told_on_theirs(root: Path) -> None:
    edit(root / "mapping.toml", "abilities = ['resume']", 'platform = "linux/arm64"\nabilities = ["shards"]')
    assert said(root) == [
        (
            "error",
            "entry-changed",
            "mapping.toml:7: platform of 'harness-001' is 'linux/arm64', the IR was read for not given",
        ),
        (
            "error",
            "entry-changed",
            "mapping.toml:8: abilities of 'harness-001' is ['shards'], the IR was read for ['resume']",
        ),
    ]


def test_entries_that_came_and_went(root: Path) -> None:
    edit(root / "mapping.toml", "[harness-001]", "[renamed]")
    assert said(root) == [
        ("error", "entry-added", "mapping.toml:6: entry 'renamed' is not in the IR"),
        (
            "error",
            "entry-removed",
            "ir/index.yaml: entry 'harness-001' is in the IR, but no longer in mapping.toml",
        ),
    ]


def test_a_comment_changes_the_mapping_too(root: Path) -> None:
    with (root / "mapping.toml").open("a") as file:
        file.write("# a remark\n")
    assert said(root) == [
        ("error", "mapping-changed", "mapping.toml: changed since the IR was made from it"),
    ]


def test_edited_missing_and_additional_files(root: Path) -> None:
    edit(root / "ir/harness-000.yaml", "pkg_name: harness_000", "pkg_name: edited")
    (root / "ir/harness-001.yaml").unlink()
    (root / "ir/more.yaml").write_text("a: 1\n")
    (root / "ir/README.md").write_text("No IR.\n")
    assert [(code, text) for _, code, text in said(root)] == [
        ("ir-changed", "ir/harness-000.yaml: not the file that the index names: its sha256 is another"),
        (
            "hand-edit",
            "ir/harness-000.yaml: edited by hand: the checksum in its first line is not that of the rest",
        ),
        ("ir-missing", "ir/harness-001.yaml: the index names this file, but it is gone"),
        ("ir-unnamed", "ir/more.yaml: the index doesn't know this file; nothing reads it"),
    ]


@pytest.mark.parametrize(
    ("state", "reason", "found"),
    [
        (
            EntryState.STALE,
            "no answer",
            (
                "error",
                "entry-stale",
                "mapping.toml:2: the last read of 'harness-000' failed (no answer); its last good IR stands",
            ),
        ),
        (
            EntryState.IMPORTED,
            None,
            (
                "warning",
                "entry-imported",
                "mapping.toml:2: 'harness-000' was imported; its image was never read",
            ),
        ),
    ],
)
def test_states_that_need_a_look(
    root: Path, state: EntryState, reason: str | None, found: tuple[str, str, str]
) -> None:
    catalog = store.load(root)
    first, *rest = catalog.entries
    store.write(root, catalog.mapping_sha256, [replace(first, state=state, reason=reason), *rest])
    assert said(root) == [found]


def test_an_entry_that_never_answered(root: Path) -> None:
    catalog = store.load(root)
    first, *rest = catalog.entries
    never = replace(first, state=EntryState.STALE, reason="not found", image=None, harnesses=())
    store.write(root, catalog.mapping_sha256, [never, *rest])
    assert said(root) == [
        (
            "error",
            "entry-stale",
            "mapping.toml:2: the last read of 'harness-000' failed (not found); nothing is known of it",
        ),
    ]


def test_partial_and_empty_reads_are_no_errors(root: Path) -> None:
    catalog = store.load(root)
    first, second, third = catalog.entries
    assert first.image is not None
    partial = replace(first, image=replace(first.image, complete=False))
    store.write(root, catalog.mapping_sha256, [partial, replace(second, harnesses=()), third])
    assert said(root) == [
        ("warning", "entry-empty", "mapping.toml:6: the image of 'harness-001' holds no harness"),
        (
            "note",
            "entry-incomplete",
            "mapping.toml:2: not every layer of 'harness-000' was read; one of them could hold more",
        ),
    ]
    assert drift.check(root)[1].hint == "`evaldock sync harness-000 --complete` reads them all"


def test_mistakes_of_the_mapping_come_with_their_lines(root: Path) -> None:
    (root / "mapping.toml").write_text('[a]\n[b]\ncontainer = "UPPER"\n')
    found = drift.check(root)
    assert [(each.code, each.line) for each in found] == [("mapping-invalid", 1), ("mapping-invalid", 3)]
    (root / "mapping.toml").write_text("[a]\n\n= 1\n")
    (one,) = drift.check(root)
    assert (one.code, one.line) == ("mapping-invalid", 3)


def test_unknown_keys_of_the_mapping_are_warnings(root: Path) -> None:
    edit(root / "mapping.toml", "abilities = ['resume']", "abilities = ['resume']\nowner = 'me'")
    assert ("warning", "mapping-unknown-key", "mapping.toml:8: harness-001.owner: unknown key") in said(root)


def test_without_an_index_everything_is_to_be_read(root: Path) -> None:
    (root / "ir/index.yaml").unlink()
    codes = [code for _, code, _ in said(root)]
    assert codes == ["index-missing", "entry-added", "entry-added", "entry-added"]


def test_without_a_mapping_there_is_no_catalog(root: Path) -> None:
    (root / "mapping.toml").unlink()
    (found,) = drift.check(root)
    assert (found.severity, found.code, found.file) == (Severity.ERROR, "mapping-missing", "mapping.toml")
