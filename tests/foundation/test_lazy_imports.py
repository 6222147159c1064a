"""What a quick command must not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synthetic import make_catalog

HEAVY = [
    *("docker", "isal", "jinja2", "jsonschema", "leptonai", "oras", "paramiko", "pydantic", "ray"),
    *("requests", "rich", "sphinx", "tomlkit", "yaml", "zstandard"),
]
SCRIPT = """
import sys
from catalog.cli import main
sys.argv = ["evaldock", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def loaded_by(*arguments: str) -> list[str]:
    """The heavy modules in memory after the command."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout
    modules = set(done.stderr.splitlines()[-1].split())
    assert "click" in modules
    return [name for name in HEAVY if name in modules]


@pytest.mark.parametrize("arguments", ["--help", "--version", "ls --help", "cache --help"])
def test_help_loads_nothing_heavy(arguments: str) -> None:
    assert loaded_by(*arguments.split()) == []


@pytest.mark.parametrize("arguments", ["ls tasks", "ls tasks --json math", "ls harnesses"])
def test_listing_a_known_catalog_loads_nothing_heavy(arguments: str, tmp_path: Path) -> None:
    catalog = ["--catalog", str(make_catalog(tmp_path, harnesses=2, tasks=10))]
    loaded_by(*arguments.split(), *catalog)  # reads the YAML files and remembers them
    assert loaded_by(*arguments.split(), *catalog) == []
