"""A fake registry and a network of its own, whose retries don't take long, for every test here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from catalog.references import ImageRef
from generator.registry.client import Network
from generator.registry.http import Policy
from generator.registry.source import RegistrySource
from services.fake_registry import FakeRegistry

QUICK = Policy(attempts=4, first_pause=0.01, longest_pause=2.0)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network(QUICK)
    yield network
    network.close()


@pytest.fixture
def open_source(network: Network) -> Iterator[Callable[[str], RegistrySource]]:
    """Opens the image of a reference as text."""
    opened: list[RegistrySource] = []

    def open_one(reference: str) -> RegistrySource:
        source = RegistrySource(ImageRef.parse(reference), network)
        opened.append(source)
        return source

    yield open_one
    for source in opened:
        source.close()
