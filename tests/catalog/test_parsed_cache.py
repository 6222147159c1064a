"""The cache of parsed catalogs: it spares work, and is never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog import parsed, store
from catalog.cachedir import cache_dir

ROOT = Path(__file__).parents[2]


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
