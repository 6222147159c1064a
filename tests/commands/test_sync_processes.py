"""Syncs that are interrupted, and several at once."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from catalog import store
from folders import contents
from harness_images import framework, path_of, push
from running import evaldock
from services.fake_registry import FakeRegistry

NAMES = ("one", "two", "three", "four")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `evaldock` as a process, which doesn't outlive its test."""
    with ExitStack() as stack:

        def begin(*arguments: str | Path) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", "from catalog.cli import main; main()", *map(str, arguments)]
            running = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(running.kill)
            return running

        yield begin


@pytest.fixture
def root(tmp_path: Path, fake: FakeRegistry) -> Path:
    """A catalog of four entries, none of them read."""
    for name in NAMES:
        push(fake, name, {path_of(name): framework(name, "x")})
    containers = {name: fake.reference(name, tag="1.0") for name in NAMES}
    tables = [f'[{name}]\ncontainer = "{container}"\n' for name, container in containers.items()]
    (tmp_path / "mapping.toml").write_text("".join(tables))
    return tmp_path


@pytest.mark.parametrize("stuck", ["/manifests/", "/blobs/"])
def test_an_interrupted_sync_leaves_the_catalog_as_it_was(
    root: Path, fake: FakeRegistry, start: Start, stuck: str
) -> None:
    assert evaldock("sync", "--catalog", root).code == 0
    for name in NAMES:
        push(fake, name, {path_of(name): framework(name, "y")})
    before = contents(root)
    fake.reset()
    fake.inject(stuck, pause=20.0, piece=8)
    running = start("sync", "--catalog", root)
    deadline = time.monotonic() + 30
    while not fake.count(stuck, "GET") and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    # Long before the registry would have answered.
    _, err = running.communicate(timeout=15)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "evaldock: interrupted; nothing was left half-written"
    assert contents(root) == before
    assert store.load(root).problems == ()


def test_a_sync_waits_for_another_one(root: Path, start: Start) -> None:
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        running = start("sync", "--catalog", root)
        assert running.stderr is not None
        line = running.stderr.readline()
        assert line == "evaldock: another sync of this catalog is running; waiting for it\n"
        assert not (root / "ir").exists()
    finally:
        os.close(handle)
    running.communicate(timeout=60)
    assert running.returncode == 0
    assert len(store.load(root).harnesses) == len(NAMES)


def test_syncs_of_different_entries_at_once_lose_nothing(root: Path, start: Start) -> None:
    running = [start("sync", name, "--catalog", root) for name in NAMES]
    for each in running:
        _, err = each.communicate(timeout=60)
        assert each.returncode == 0, err
    catalog = store.load(root)
    assert catalog.problems == ()
    assert [harness.name for harness in catalog.harnesses] == list(NAMES)
