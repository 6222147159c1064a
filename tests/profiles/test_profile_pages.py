"""The pages about profiles: what they show is what happens, and no key is forgotten."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

from foundation import doc_examples
from launcher.profiles import env_file, wandb_settings
from launcher.profiles.tables import ALIASES, OWN

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "commands"), [("profiles", 4), ("nemo-recipes", 2)])
def test_the_guides_do_what_they_say(page: str, commands: int, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "200"}
    assert doc_examples.run(DOCS / "how-to" / f"{page}.md", tmp_path, environment) == commands


def test_every_module_of_the_seed_has_its_counterpart() -> None:
    page = (DOCS / "how-to" / "nemo-recipes.md").read_text()
    modules = re.findall(r"`(launcher\.[\w.]+|catalog\.[\w.]+)`", page)
    assert modules
    for module in modules:
        assert importlib.util.find_spec(module) is not None, module


def test_the_reference_names_every_key() -> None:
    page = (DOCS / "reference" / "env-toml.md").read_text()
    words = set(re.findall(r"[\w.]+", page))
    assert {*ALIASES, *OWN, *env_file.SPECIAL, *wandb_settings.KNOWN} <= words
    for variable in (env_file.VARIABLE, "EVALDOCK_BOUND_KEYS"):
        assert f"`{variable}`" in (DOCS / "reference" / "environment.md").read_text()
