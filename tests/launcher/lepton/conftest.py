"""The stand-in's workspace as a place where jobs run."""

from __future__ import annotations

import pytest

from launched import Place
from lepton_place import lepton_place
from services.lepton import Lepton


@pytest.fixture
def place(request: pytest.FixtureRequest, lepton: Lepton) -> Place:
    return lepton_place(request)
