"""The places of these tests."""

from __future__ import annotations

import pytest

from launched import Place
from launcher.backends import slurm_script
from slurm_place import slurm_docker_place, slurm_place


@pytest.fixture(autouse=True)
def _quick_beats(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are quick here; the texts that are kept have the real numbers."""
    if "slurm" in request.fixturenames:
        monkeypatch.setattr(slurm_script, "BEAT", 1)
        monkeypatch.setattr(slurm_script, "PATIENCE", 120)


@pytest.fixture
def on_slurm(request: pytest.FixtureRequest) -> Place:
    return slurm_place(request)


@pytest.fixture
def on_head_node(request: pytest.FixtureRequest) -> Place:
    return slurm_docker_place(request)
