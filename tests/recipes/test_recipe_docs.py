"""The guide on recipes does what it says."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from foundation import doc_examples
from launcher.recipes.runspec import LAUNCHES
from launcher.recipes.runspec_reading import parse

DOCS = Path(__file__).parents[2] / "docs"


def test_the_guide_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "120"}
    assert doc_examples.run(DOCS / "how-to" / "recipes.md", tmp_path, environment) > 0


def test_the_reference_knows_every_field_and_way_to_launch() -> None:
    page = (DOCS / "reference" / "runspec.md").read_text()
    spec = parse(Path(__file__).with_name("samples") / "every_field.py")
    named = set(re.findall(r"`([a-z_]+)`", page))
    assert {path.rpartition(".")[2] for path in spec.stated if not path.startswith("env.")} <= named
    assert set(LAUNCHES) <= named


def test_every_module_in_the_table_is_there() -> None:
    page = (DOCS / "reference" / "runspec.md").read_text()
    table = page[page.index("| its module | here |") :]
    root = DOCS.parent
    modules = set(re.findall(r"`(launcher(?:\.[a-z_]+)+)", table))
    assert len(modules) > 20
    for module in modules:
        path = root.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or path.is_dir(), module
