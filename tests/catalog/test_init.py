"""`evaldock init`."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from catalog import drift, mapping, store
from running import evaldock


def test_a_new_catalog_is_empty_and_in_order(tmp_path: Path) -> None:
    root = tmp_path / "new" / "catalog"
    ran = evaldock("init", root)
    assert (ran.code, ran.out) == (0, "")
    assert (
        ran.err
        == f"evaldock: {root}/mapping.toml is an empty catalog: name an image in it, then `evaldock sync`\n"
    )
    assert store.load(root).verified
    assert drift.check(root) == ()
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["index.yaml", "mapping.toml"]


def test_it_is_made_here_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaldock("init").code == 0
    assert (tmp_path / "mapping.toml").is_file()


def test_the_example_is_valid_once_it_is_no_comment(tmp_path: Path) -> None:
    evaldock("init", tmp_path)
    text = (tmp_path / "mapping.toml").read_text()
    example = "\n".join(line.removeprefix("# ") for line in text.split("#\n", 1)[1].splitlines())
    assert set(tomli.loads(example)["my-harness"]) == set(mapping.FIELDS)
    assert mapping.parse(example.encode(), Path("mapping.toml")).warnings == ()


@pytest.mark.parametrize("existing", ["mapping.toml", "ir/index.yaml"])
def test_nothing_is_overwritten(tmp_path: Path, existing: str) -> None:
    path = tmp_path / existing
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    ran = evaldock("init", tmp_path)
    assert ran.code == 5
    assert str(path) in ran.err
    assert path.read_text() == "mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert evaldock("init", tmp_path / "file").code == 2


def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = evaldock("init", tmp_path / "file" / "below")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == f"evaldock: {tmp_path}/file/below: Not a directory\n"
