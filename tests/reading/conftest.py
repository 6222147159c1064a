"""Reading images out of a fake registry that counts requests and bytes, or fails on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from catalog.references import ImageRef
from generator.answer import ReadAnswer
from generator.reading import read_image
from generator.registry.client import Network
from generator.registry.http import Policy
from generator.registry.source import RegistrySource
from services.fake_registry import FakeRegistry

QUICK = Policy(attempts=3, first_pause=0.01, longest_pause=0.1, connect=5, read=5, patience=5, slowest=1e3)

Read = Callable[..., ReadAnswer]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def read() -> Iterator[Read]:
    """`read(reference, **wishes)` over one network, as within one run of a command."""
    network = Network(QUICK)

    def read_one(reference: str, **wishes: Any) -> ReadAnswer:
        return read_image(
            ImageRef.parse(reference), opener=lambda ref: RegistrySource(ref, network), **wishes
        )

    yield read_one
    network.close()
