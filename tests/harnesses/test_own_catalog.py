"""The catalog of this project's own harnesses: what is committed is what their folders give."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest
import tomli

from catalog import mapping, store
from folders import contents
from running import evaldock

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "catalog"
HARNESSES = CATALOG / "harnesses"
QUICKCHECK = HARNESSES / "quickcheck"
WRAPPERS = [path.parent.name for path in sorted(HARNESSES.glob("*/requirements.in"))]
REMEDY = "run `make images` and commit what it wrote"


def test_packing_again_gives_the_committed_bytes(tmp_path: Path) -> None:
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    ran = evaldock("pack", QUICKCHECK, "--to", f"oci:{tmp_path}/quickcheck:1.0.0", *platforms, "--json")
    assert ran.code == 0, ran.err
    committed = contents(CATALOG / "images" / "quickcheck")
    assert contents(tmp_path / "quickcheck").keys() == committed.keys(), REMEDY
    assert contents(tmp_path / "quickcheck") == committed, REMEDY
    (recorded,) = store.load(CATALOG).harnesses
    assert ran.json["digest"] == str(recorded.image.digest), REMEDY


def test_the_catalog_verifies_and_reading_it_again_changes_nothing(tmp_path: Path) -> None:
    ran = evaldock("check", "--catalog", CATALOG)
    assert ran.code == 0, ran.out + ran.err
    for name in ("mapping.toml", "images", "ir"):
        source = CATALOG / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    shutil.rmtree(tmp_path / "ir")
    ran = evaldock("sync", "--complete", "--catalog", tmp_path)
    assert ran.code == 0, ran.err
    assert contents(tmp_path / "ir") == contents(CATALOG / "ir"), REMEDY


def test_the_table_of_the_readme_is_fresh() -> None:
    ran = evaldock("readme", "--check", "--catalog", CATALOG, ROOT / "README.md")
    assert ran.code == 0, ran.out


def test_one_version_everywhere() -> None:
    project = tomli.loads((QUICKCHECK / "pyproject.toml").read_text())["project"]
    (entry,) = mapping.read(CATALOG / "mapping.toml").entries
    assert entry.container == f"oci:images/quickcheck:{project['version']}"
    assert entry.packages == ("./harnesses/quickcheck",)
    assert entry.abilities == ("resume", "shards")
    assert (CATALOG / entry.packages[0] / "pyproject.toml").is_file()


def imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    names = [alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names]
    tree = ast.walk(ast.parse(path.read_text()))
    names += [str(node.module) for node in tree if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(HARNESSES.rglob("*.py")), ids=lambda path: path.name)
def test_harnesses_import_nothing_of_ours(path: Path) -> None:
    own = {"quickcheck", "aiohttp", "yaml"} if path.is_relative_to(QUICKCHECK) else set()
    assert imported(path) <= own | set(sys.stdlib_module_names)


def test_the_checkpoint_module_imports_the_standard_library_alone() -> None:
    assert imported(QUICKCHECK / "src" / "quickcheck" / "checkpoint.py") <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_pins_everything_and_copies_nothing(name: str) -> None:
    wrapped = (HARNESSES / name / "requirements.in").read_text().split()
    locked = (HARNESSES / name / "requirements.txt").read_text()
    pinned = re.findall(r"^([a-z0-9._-]+==\S+)", locked, re.MULTILINE)
    assert set(wrapped) <= set(pinned)
    assert all("==" in requirement for requirement in wrapped)
    hashed = re.findall(r"^[a-z0-9._-]+==\S+.*\\\n +--hash=sha256:[0-9a-f]{64}", locked, re.MULTILINE)
    assert len(hashed) == len(pinned)
    names = {path.name for path in (HARNESSES / name).iterdir()}
    assert names == {"Dockerfile", "README.md", "requirements.in", "requirements.txt"}


def test_there_are_wrappers() -> None:
    assert WRAPPERS == ["bfcl", "mmath"]
