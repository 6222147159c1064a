"""The stand-in's workspace as a place where jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from launched import Place
from lepton_place import lepton_place
from services.lepton import Lepton, new_workspace


@pytest.fixture
def place(request: pytest.FixtureRequest, lepton: Lepton) -> Place:
    return lepton_place(request)


@pytest.fixture
def elsewhere(
    lepton: Lepton, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[Lepton]]:
    """As long as it lasts, the environment leads to another workspace."""

    @contextmanager
    def made() -> Iterator[Lepton]:
        beside = new_workspace(lepton.host)
        with monkeypatch.context() as patch:
            for name, value in beside.environ.items():
                patch.setenv(name, value)
            yield beside

    return made
