"""Writers of a catalog that are killed, fail, or are two."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import store
from catalog.models import Catalog, MappingEntry
from folders import contents
from samples import entry_of, harness
from synthetic import make_catalog

ROOT = Path(__file__).parents[2]


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
        assert contents(root) == contents(new_root)
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
    states = [contents(each / "ir") for each in (copy, other)]
    assert contents(root / "ir") in states
