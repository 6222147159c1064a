"""A catalog on disk: what it holds, whether it can be trusted, and what an interruption leaves."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog import parsed, store, writing
from catalog.cachedir import cache_dir
from catalog.errors import NotFound, Refused, UsageError
from catalog.index import SAFE_FILE
from catalog.models import Catalog, Entry, EntryState, Harness, Image, MappingEntry
from catalog.writing import file_names, ir_text
from samples import harness, task
from synthetic import make_catalog, make_harness

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_catalog(tmp_path / "catalog", harnesses=6, tasks=60, stale=1)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def reseal(path: Path, old: str, new: str) -> None:
    """A forgery: the file changed, its own checksum made to fit."""
    body = path.read_text().partition("\n")[2]
    assert old in body
    body = body.replace(old, new)
    head = path.read_text().partition("\n")[0].rpartition(" ")[0]
    path.write_text(f"{head} {hashlib.sha256(body.encode()).hexdigest()}\n{body}")


def entry_of(key: str, *harnesses: Harness) -> Entry:
    mapping = MappingEntry(key=key, container=f"registry.example/{key}:1")
    image = Image(
        container=mapping.container,
        digest="sha256:" + "a" * 64,
        manifest_digest="sha256:" + "a" * 64,
        platform="linux/amd64",
        platforms=("linux/amd64",),
    )
    owned = tuple(replace(each, entry=key, image=image) for each in harnesses)
    return Entry(mapping=mapping, image=image, harnesses=owned)


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
    before = files_of(root)
    catalog = store.load(root)
    assert store.write(root, catalog.mapping_sha256, catalog.entries) == writing.Written(
        changed=(), removed=()
    )
    make_catalog(root, harnesses=6, tasks=60, stale=1)
    assert files_of(root) == before
    assert files_of(make_catalog(tmp_path / "other", harnesses=6, tasks=60, stale=1)) == before


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
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


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


# --- finding the catalog ---


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


# --- the cache ---


def test_the_cache_spares_reading_yaml(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.load(root)

    def fail(data: bytes) -> object:
        raise AssertionError("YAML was read")

    monkeypatch.setattr(parsed, "_parse", fail)
    assert store.load(root) == first


def test_a_damaged_cache_is_as_good_as_none(root: Path) -> None:
    first = store.load(root)
    cached = list(cache_dir("parsed").rglob("*.json"))
    assert len(cached) == 7
    for number, path in enumerate(cached):
        data = path.read_bytes()
        path.write_bytes([b"", data[:-10], data.replace(b"math", b"moth"), b"\xff" * 100][number % 4])
    assert store.load(root) == first


def test_a_cache_that_cannot_be_written_costs_only_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.load(root)
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("EVALDOCK_CACHE", str(blocked / "below-a-file"))
    assert store.load(root) == first


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, own_environment: Path) -> None:
    assert cache_dir("a", "b") == own_environment / "evaldock-cache/a/b"
    monkeypatch.delenv("EVALDOCK_CACHE")
    assert cache_dir() == own_environment / ".cache/evaldock"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x/cache")
    assert cache_dir("a") == Path("/x/cache/evaldock/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir("a") == own_environment / ".cache/evaldock/a"


def test_listing_imports_neither_yaml_nor_anything_heavy(root: Path) -> None:
    store.load(root)
    code = (
        "import sys; from pathlib import Path; from catalog import store\n"
        "assert len(store.load(Path(sys.argv[1])).tasks) == 60\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code, root], check=True, env=environment, capture_output=True, text=True
    )
    assert not {"yaml", "pydantic", "jinja2", "tomli", "tomlkit", "rich", "requests"} & set(
        ran.stdout.split()
    )


# --- interruption ---

# Ends the process, as a power cut would, before the nth change to the file system.
KILLED = """
import os, sys
from pathlib import Path
from synthetic import make_catalog
from catalog import store
from dataclasses import replace

root, other, left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
new = store.load(other)

def count(event, arguments):
    global left
    opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if event in ("os.rename", "os.remove", "os.mkdir", "os.chmod") or opened:
        left -= 1
        if left < 0:
            os._exit(9)

sys.addaudithook(count)
store.write(root, new.mapping_sha256, new.entries)
"""


def test_a_writer_killed_at_any_moment_leaves_old_or_new_or_what_does_not_verify(tmp_path: Path) -> None:
    old_root = make_catalog(tmp_path / "old", harnesses=3, tasks=12)
    old = store.load(old_root)
    first, second, _ = old.entries
    changed = replace(second, harnesses=(replace(second.harnesses[0], tasks=second.harnesses[0].tasks[:2]),))
    added = replace(
        entry_of("added", harness("added", ["t"])), mapping=MappingEntry(key="added", container="x/added:1")
    )
    new_root = shutil.copytree(old_root, tmp_path / "new")
    store.write(new_root, old.mapping_sha256, [first, changed, added])
    new = store.load(new_root)
    assert new.verified
    seen = []
    for step in range(100):
        root = shutil.copytree(old_root, tmp_path / f"killed-{step}")
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        ran = subprocess.run(
            [sys.executable, "-c", KILLED, root, new_root, str(step)], env=environment, check=False
        )
        seen.append(outcome(store.load(root), old, new))
        # Whoever comes next sets it right and cleans up.
        store.write(root, new.mapping_sha256, new.entries)
        assert files_of(root) == files_of(new_root)
        if ran.returncode == 0:
            break
        assert ran.returncode == 9
    assert ran.returncode == 0
    # All three were met, and never the old one after the new.
    assert [state for at, state in enumerate(seen) if at == 0 or seen[at - 1] != state] == [
        "old",
        "does not verify",
        "new",
    ]


def outcome(found: Catalog, old: Catalog, new: Catalog) -> str:
    if not found.verified:
        return "does not verify"
    if found.entries == old.entries:
        return "old"
    assert found.entries == new.entries
    return "new"


def test_an_error_while_writing_leaves_no_temporary_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = store.load(root)
    first, *rest = catalog.entries
    changed = replace(first, harnesses=(replace(first.harnesses[0], pkg_name="other"),))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(root, catalog.mapping_sha256, [changed, *rest])
    monkeypatch.undo()
    assert not list((root / "ir").glob(".*"))
    assert store.load(root).verified


def test_two_writers_follow_one_another(root: Path, tmp_path: Path) -> None:
    other = make_catalog(tmp_path / "other", harnesses=6, tasks=90)
    code = (
        "import sys; from pathlib import Path; from catalog import store\n"
        "root = Path(sys.argv[1])\n"
        "catalogs = [store.load(Path(each)) for each in sys.argv[2:]]\n"
        "for _ in range(5):\n"
        "    for each in catalogs:\n"
        "        store.write(root, each.mapping_sha256, each.entries)\n"
    )
    copy = shutil.copytree(root, tmp_path / "copy")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, root, *order], env=environment)
        for order in ((copy, other), (other, copy))
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    states = [files_of(each / "ir") for each in (copy, other)]
    assert files_of(root / "ir") in states
