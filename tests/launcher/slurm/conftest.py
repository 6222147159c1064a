"""The places of these tests."""

from __future__ import annotations

import pytest

from launched import Place
from slurm_place import slurm_docker_place, slurm_place


@pytest.fixture
def on_slurm(request: pytest.FixtureRequest) -> Place:
    return slurm_place(request)


@pytest.fixture
def on_head_node(request: pytest.FixtureRequest) -> Place:
    return slurm_docker_place(request)
