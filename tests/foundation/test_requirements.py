"""The lock files: complete, hashed, in step with pyproject.toml, and usable anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
_PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^\s;]+)[^\\]*\\$")


def pins(lock: Path) -> dict[str, set[str]]:
    """Name → versions; several where environment markers tell them apart."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if pin := _PIN.match(line):
            found.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
    return found


def project() -> dict[str, Any]:
    return tomli.loads((ROOT / "pyproject.toml").read_text())


def wanted(*extras: str) -> Iterator[Requirement]:
    """The direct requirements of the project with these extras; extras of extras are followed."""
    optional = project()["project"]["optional-dependencies"]
    lines = list(project()["project"]["dependencies"])
    for extra in extras:
        lines += optional[extra]
    for line in lines:
        requirement = Requirement(line)
        if requirement.name == "evaldock":
            yield from wanted(*requirement.extras)
        else:
            yield requirement


def wanted_by_group(group: str) -> list[Requirement]:
    return [Requirement(line) for line in project()["dependency-groups"][group]]


ASKED = {
    "runtime.txt": list(wanted()),
    "site.txt": list(wanted("site")),
    "dev.txt": list(wanted("dev")),
    **{f"{group}.txt": wanted_by_group(group) for group in ("build", "demo", "reference", "bench")},
}


def test_every_lock_file_has_a_source_in_pyproject() -> None:
    assert {lock.name for lock in LOCKS} == set(ASKED)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_pins_satisfy_pyproject(lock: Path) -> None:
    pinned = pins(lock)
    for requirement in ASKED[lock.name]:
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} isn't in requirements/{lock.name}: run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), (
                f"requirements/{lock.name} pins {requirement.name} {version}, but pyproject.toml says "
                f"{requirement}: run `make lock`"
            )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_every_pin_has_a_hash_and_no_address(lock: Path) -> None:
    name = ""
    hashed: dict[str, int] = {}
    for line in lock.read_text().splitlines():
        if pin := _PIN.match(line):
            name = pin["name"]
            hashed.setdefault(name, 0)
        elif line.startswith("    --hash=sha256:"):
            hashed[name] += 1
        else:
            assert line.lstrip().startswith("#"), f"{lock.name}: neither pin, hash nor comment: {line}"
        assert "://" not in line
        assert " @ " not in line
    assert hashed
    assert [name for name, count in hashed.items() if not count] == []


def test_lock_files_that_are_installed_together_agree() -> None:
    dev = pins(ROOT / "requirements" / "dev.txt")
    for other in ("runtime.txt", "site.txt", "build.txt"):
        for name, versions in pins(ROOT / "requirements" / other).items():
            assert dev.get(name, versions) == versions, f"{name} differs between dev.txt and {other}"
