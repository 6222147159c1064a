"""What no committed file may hold, and where foreign libraries may be imported."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written in pieces, so that this file passes its own test.
MACHINE_PATHS = ["/wor" + "k/", "/roo" + "t/", "/opt/whe" + "els", "/opt/py" + "pi", "/tmp/w" + "h/"]
PACKAGE_HOSTS = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "deb" + ".debian.org"]
FORBIDDEN = re.compile("|".join(re.escape(text) for text in MACHINE_PATHS + PACKAGE_HOSTS))


def tracked() -> list[Path]:
    # In a container the checkout may belong to another user than the one who tests.
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_committed_file_knows_a_machine_or_a_package_host() -> None:
    found = []
    for path in tracked():
        if not path.is_file():
            continue  # removed, not committed yet
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FORBIDDEN.finditer(text)]
    assert found == []


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]


@pytest.mark.parametrize("package", ["catalog", "generator", "launcher"])
@pytest.mark.parametrize(
    "library", ["oras", "docker", "paramiko", "ray", "leptonai", "isal", "zstandard", "jsonschema"]
)
def test_a_foreign_library_is_imported_in_one_module(package: str, library: str) -> None:
    modules = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / package).rglob("*.py"))
        if library in imports(path) and "harnesses" not in path.parts
    ]
    assert len(modules) <= 1, f"{library} is imported in {', '.join(modules)}"


def test_only_the_site_knows_sphinx() -> None:
    knowing = {
        path.relative_to(ROOT).parts[:2]
        for package in ("catalog", "generator", "launcher")
        for path in (ROOT / package).rglob("*.py")
        if {"sphinx", "docutils"} & set(imports(path))
    }
    assert knowing <= {("generator", "site")}


def modules() -> dict[str, Path]:
    """This project's modules by their dotted names."""
    paths = [
        path for package in ("catalog", "generator", "launcher") for path in (ROOT / package).rglob("*.py")
    ]
    named = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in named.items() if ".harnesses." not in name}


def runtime_imports(node: ast.AST, known: Collection[str]) -> Iterator[str]:
    """Modules that are imported from here, in functions too; what is for type checkers only is left out."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test):
            continue
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names if alias.name in known)
        elif isinstance(each, ast.ImportFrom):
            whole = [f"{each.module}.{alias.name}" for alias in each.names]
            yield from (name if name in known else str(each.module) for name in whole)
        else:
            yield from runtime_imports(each, known)


def test_no_module_needs_itself_by_way_of_others() -> None:
    known = modules()
    needs = {
        name: {each for each in runtime_imports(ast.parse(path.read_text()), known) if each in known}
        for name, path in known.items()
    }
    assert "launcher.jobs" in needs["launcher.backends.protocol"]
    # Who needs nobody that is left is no part of a circle.
    while free := {name for name in needs if not needs[name] & needs.keys()}:
        needs = {name: theirs for name, theirs in needs.items() if name not in free}
    assert sorted(needs) == []
