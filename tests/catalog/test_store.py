"""A catalog on disk: what it holds, and whether it can be trusted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog import store, writing
from catalog.errors import NotFound, Refused, UsageError
from catalog.index import SAFE_FILE
from catalog.models import Entry, EntryState, MappingEntry
from catalog.writing import file_names, ir_text
from folders import contents
from samples import entry_of, harness, task
from synthetic import make_catalog, make_harness

ROOT = Path(__file__).parents[2]


def reseal(path: Path, old: str, new: str) -> None:
    """A forgery: the file changed, its own checksum made to fit."""
    body = path.read_text().partition("\n")[2]
    assert old in body
    body = body.replace(old, new)
    head = path.read_text().partition("\n")[0].rpartition(" ")[0]
    path.write_text(f"{head} {hashlib.sha256(body.encode()).hexdigest()}\n{body}")


def test_what_is_written_is_loaded_again(root: Path) -> None:
    catalog = store.load(root)
    assert catalog.problems == ()
    assert catalog.verified
    assert [len(each.tasks) for each in catalog.harnesses] == [10] * 6
    loaded = catalog.harnesses[0]
    assert replace(loaded, ir_sha256="") == make_harness(0, 10)
    assert loaded.ir_sha256 == hashlib.sha256((root / "ir/harness-000.yaml").read_bytes()).hexdigest()
    assert [each.state for each in catalog.harnesses] == [EntryState.CURRENT] * 5 + [EntryState.STALE]
    assert [entry.mapping.key for entry in catalog.entries] == [each.entry for each in catalog.harnesses]


def test_writing_again_changes_not_one_byte(root: Path, tmp_path: Path) -> None:
    before = contents(root)
    catalog = store.load(root)
    assert store.write(root, catalog.mapping_sha256, catalog.entries) == writing.Written(
        changed=(), removed=()
    )
    make_catalog(root, harnesses=6, tasks=60, stale=1)
    assert contents(root) == before
    assert contents(make_catalog(tmp_path / "other", harnesses=6, tasks=60, stale=1)) == before


def test_nothing_written_depends_on_the_hash_seed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from synthetic import make_catalog\n"
        "make_catalog(Path(sys.argv[1]), harnesses=3, tasks=30)"
    )
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        }
        subprocess.run([sys.executable, "-c", code, tmp_path / seed], check=True, env=environment)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_index_holds_no_dates_or_versions_of_tools(root: Path) -> None:
    index = yaml.safe_load((root / "ir/index.yaml").read_text())
    assert set(index) == {"version", "mapping_sha256", "entries"}
    assert set(index["entries"][0]) == {"key", "mapping", "state", "image", "harnesses"}
    assert index["entries"][5]["reason"] == "the registry did not answer"


def test_only_what_changed_is_written(root: Path) -> None:
    catalog = store.load(root)
    first, *rest = catalog.entries
    changed = replace(first, harnesses=(replace(first.harnesses[0], tasks=first.harnesses[0].tasks[1:]),))
    before = {path: path.stat().st_ino for path in (root / "ir").iterdir()}
    written = store.write(root, catalog.mapping_sha256, [changed, *rest[:-1]])
    assert written.changed == ("ir/harness-000.yaml", "ir/index.yaml")
    assert written.removed == ("ir/harness-005.yaml",)
    assert not (root / "ir/harness-005.yaml").exists()
    kept = root / "ir/harness-001.yaml"
    assert kept.stat().st_ino == before[kept]
    assert store.load(root).verified


def test_files_that_are_not_ours_are_left_alone(root: Path) -> None:
    notes = [root / "ir/notes.yaml", root / "ir/README.md", root / "ir/.gitattributes"]
    for path in notes:
        path.write_text("mine: true\n")
    (root / "ir/.evaldock-left-by-a-killed-writer").write_text("half")
    catalog = store.load(root)
    written = store.write(root, catalog.mapping_sha256, catalog.entries)
    assert written.removed == ()
    assert all(path.exists() for path in notes)
    assert not (root / "ir/.evaldock-left-by-a-killed-writer").exists()


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            lambda root: (root / "mapping.toml").write_text("# changed\n"),
            ["mapping.toml: changed since the IR was made from it"],
        ),
        (
            lambda root: (root / "mapping.toml").unlink(),
            ["mapping.toml: changed since the IR was made from it"],
        ),
        (
            lambda root: (root / "ir/harness-001.yaml").unlink(),
            ["ir/harness-001.yaml: the index names this file, but it is gone"],
        ),
        (
            lambda root: (root / "ir/harness-001.yaml").write_bytes(
                (root / "ir/harness-001.yaml").read_bytes().replace(b"parallelism: 8", b"parallelism: 9", 1)
            ),
            [
                "ir/harness-001.yaml: not the file that the index names: its sha256 is another",
                "ir/harness-001.yaml: edited by hand: the checksum in its first line is not that of the rest",
            ],
        ),
        (
            lambda root: reseal(root / "ir/harness-001.yaml", "parallelism: 8", "parallelism: 9"),
            ["ir/harness-001.yaml: not the file that the index names: its sha256 is another"],
        ),
        (
            lambda root: (root / "ir/index.yaml").write_bytes(
                (root / "ir/index.yaml").read_bytes().replace(b"complete: true", b"complete: false", 1)
            ),
            ["ir/index.yaml: edited by hand: the checksum in its first line is not that of the rest"],
        ),
        (
            lambda root: reseal(root / "ir/index.yaml", "name: harness-001", "name: harness-999"),
            ["ir/harness-001.yaml: holds harness 'harness-001', the index says 'harness-999'"],
        ),
        (
            lambda root: reseal(
                root / "ir/index.yaml", "file: harness-001.yaml", "file: ../../etc/passwd.yaml"
            ),
            [
                "ir/index.yaml: not an index: entries[1].harnesses[0].file: not a file name below ir/:"
                " '../../etc/passwd.yaml'"
            ],
        ),
        (
            lambda root: (root / "ir/index.yaml").unlink(),
            ["ir/index.yaml: there is no index: the IR was never made"],
        ),
        (
            lambda root: (root / "ir/index.yaml").write_text("a: b: c"),
            [
                "ir/index.yaml: edited by hand: the checksum in its first line is not that of the rest",
                "ir/index.yaml: not an index: line 1, column 5: mapping values are not allowed in this"
                " context",
            ],
        ),
    ],
)
def test_whatever_was_touched_shows(root: Path, damage: object, problems: list[str]) -> None:
    assert callable(damage)
    # The cache knows the good files; it must not make a bad one look good.
    store.load(root)
    damage(root)
    catalog = store.load(root)
    assert list(catalog.problems) == problems
    with pytest.raises(Refused) as caught:
        store.require_verified(catalog)
    assert all(f"\n  - {problem}" in str(caught.value) for problem in problems)
    assert "run `evaldock sync`" in str(caught.value)


def test_what_does_not_verify_is_shown_all_the_same(root: Path) -> None:
    (root / "ir/harness-001.yaml").write_text("not: an IR\n")
    path = root / "ir/harness-002.yaml"
    path.write_text(path.read_text().replace("pkg_name: harness_002", "pkg_name: changed"))
    catalog = store.load(root)
    assert len(catalog.harnesses) == 5
    found = catalog.harness("harness-002")
    assert found is not None
    assert found.pkg_name == "changed"


def test_a_catalog_that_verifies_is_not_refused(root: Path) -> None:
    store.require_verified(store.load(root))


def test_harnesses_of_one_name_in_two_entries_are_refused(tmp_path: Path) -> None:
    entries = [entry_of("one", harness("same", ["t"])), entry_of("two", harness("same", ["u"]))]
    with pytest.raises(UsageError) as caught:
        store.write(tmp_path, "0" * 64, entries)
    assert str(caught.value) == (
        "mapping.toml: harness 'same' stands in two entries: 'one' and 'two'\n"
        "  keep one of them: tasks are named by their harness"
    )
    assert not (tmp_path / "ir").exists()
    twice = replace(entries[0], harnesses=entries[0].harnesses * 2)
    with pytest.raises(UsageError, match="entry 'one' holds the harness 'same' twice"):
        store.write(tmp_path, "0" * 64, [twice])


def test_an_index_with_a_conflict_names_both_entries(root: Path) -> None:
    reseal(root / "ir/index.yaml", "name: harness-002", "name: harness-001")
    assert (
        "ir/index.yaml: harness 'harness-001' stands in entries 'harness-001' and 'harness-002'"
        in store.load(root).problems
    )


def test_an_entry_that_was_never_read_is_kept(tmp_path: Path) -> None:
    mapping = MappingEntry(key="new", container="registry.example/new:1")
    entry = Entry(mapping=mapping, state=EntryState.STALE, reason="not found")
    (tmp_path / "mapping.toml").write_text("")
    store.write(tmp_path, store.checksum(b""), [entry])
    catalog = store.load(tmp_path)
    assert catalog.entries == (entry,)
    assert catalog.harnesses == ()
    assert catalog.verified


def test_several_harnesses_of_one_image_and_names_like_one_another(tmp_path: Path) -> None:
    names = ["AA-LCR", "aa-lcr", "index", "CON", "plain_1", "a+b", "_hidden"]
    (tmp_path / "mapping.toml").write_text("")
    store.write(tmp_path, store.checksum(b""), [entry_of("all", *(harness(name, ["t"]) for name in names))])
    catalog = store.load(tmp_path)
    assert [each.name for each in catalog.harnesses] == names
    assert catalog.verified
    files = [path.name.lower() for path in (tmp_path / "ir").iterdir()]
    assert len(files) == len(set(files)) == len(names) + 1


@given(st.lists(st.text(max_size=120), unique=True, max_size=6))
def test_file_names_are_safe_and_unique_wherever_they_stand(names: list[str]) -> None:
    found = file_names(names)
    files = [found[name] for name in names]
    assert len({file.lower() for file in files}) == len(names)
    for file in files:
        assert file == file.lower()
        assert file.endswith(".yaml")
        assert len(file) < 120
        assert set(file) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert SAFE_FILE.fullmatch(file)
        assert file != "index.yaml"


def test_a_name_alone_keeps_its_file_whatever_comes_beside_it() -> None:
    assert file_names(["mmath"])["mmath"] == file_names(["mmath", "other", "AA"])["mmath"] == "mmath.yaml"
    assert file_names(["AA-LCR"]) == {"AA-LCR": "aa-lcr.yaml"}
    assert file_names(["a/b", "con", "nul.x"]).keys() == {"a/b", "con", "nul.x"}
    assert all(len(file) > 15 for file in file_names(["a/b", "con", "nul.x"]).values())


def test_the_text_of_a_harness_says_nothing_of_its_image() -> None:
    one = harness("h", [task("h", "t")])
    assert ir_text(one) == ir_text(replace(one, image=entry_of("x").image, entry="other"))  # type: ignore[arg-type]


def test_the_catalog_is_here_then_in_catalog_then_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = store.find_root()
    assert packaged == Path(store.__file__).parent
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog/mapping.toml").touch()
    assert store.find_root() == Path("catalog")
    (tmp_path / "mapping.toml").touch()
    assert store.find_root() == Path()
    assert store.find_root(tmp_path / "catalog") == tmp_path / "catalog"


def test_a_folder_without_a_mapping_is_no_catalog(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        store.find_root(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no catalog here: there is no mapping.toml\n  `evaldock init {tmp_path}` makes one"
    )
