"""A fake registry, reached without the long pauses of a real network, and catalogs whose images are in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog import store
from generator.registry import client
from generator.registry.http import Policy
from harness_images import framework, path_of, push
from running import Ran, evaldock
from services.fake_registry import FakeRegistry


class Place:
    """A catalog whose images are in a fake registry."""

    def __init__(self, root: Path, registry: FakeRegistry) -> None:
        self.root = root
        self.registry = registry
        root.mkdir()

    def write(self, *names: str, **containers: str) -> None:
        """Entries for images in the registry by their names, and for other containers."""
        given = {name: self.registry.reference(name, tag="1.0") for name in names} | containers
        tables = [f'[{name}]\ncontainer = "{container}"\n' for name, container in given.items()]
        (self.root / "mapping.toml").write_text("\n".join(tables))

    def push(self, name: str, *tasks: str, **params: Any) -> str:
        return push(self.registry, name, {path_of(name): framework(name, *tasks, **params)})

    def sync(self, *arguments: str) -> Ran:
        return evaldock("sync", *arguments, "--catalog", self.root)

    def check(self) -> Ran:
        return evaldock("check", "--json", "--catalog", self.root)

    def codes(self) -> list[str]:
        return [finding["code"] for finding in self.check().json["findings"]]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Bytes and times of everything."""
        return {
            str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def tasks(self) -> list[str]:
        catalog = store.load(self.root)
        assert catalog.problems == ()
        return [task.id for task in catalog.tasks]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    network = client.Network(Policy(attempts=2, first_pause=0.01, longest_pause=0.1, connect=5, read=5))
    monkeypatch.setattr(client, "_shared", [network])
    with FakeRegistry() as registry:
        yield registry
    network.close()


@pytest.fixture
def place(tmp_path: Path, fake: FakeRegistry) -> Place:
    return Place(tmp_path / "catalog", fake)


@pytest.fixture
def two(place: Place) -> Place:
    """Two entries, synced once."""
    place.push("maths", "algebra", "sets")
    place.push("code", "python")
    place.write("maths", "code")
    ran = place.sync()
    assert ran.code == 0, ran.err
    place.registry.reset()
    return place
