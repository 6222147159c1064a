"""A fake registry, reached without the long pauses that a real network deserves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from generator.registry import client
from generator.registry.http import Policy
from services.fake_registry import FakeRegistry


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    network = client.Network(Policy(attempts=2, first_pause=0.01, longest_pause=0.1, connect=5, read=5))
    monkeypatch.setattr(client, "_shared", [network])
    with FakeRegistry() as registry:
        yield registry
    network.close()
