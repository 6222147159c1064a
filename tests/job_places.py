"""Every backend that stands behind the launcher's one contract, as a place where a test's jobs run.

A further backend joins by its name in `PLACES`. A test that means nothing for some of them says so by what a
place can do (`@on(scheduled=True)`): it is collected for the others only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from launched import Place
from lepton_place import lepton_place
from local_places import docker_place, process_place
from ray_place import ray_place
from slurm_place import slurm_docker_place, slurm_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is known of a place before anything of it is started.

    `far`: its jobs run on what counts as another machine, in folders of their own. `scheduled`: it has a
    queue, where jobs can wait that the launcher has handed over. `asked`: somebody answers for its jobs.
    `serves`: models can be served beside a job. `service` is the mark of tests that need it.
    """

    make: Callable[[pytest.FixtureRequest], Place]
    far: bool = False
    scheduled: bool = False
    asked: bool = True
    serves: bool = True
    service: str | None = None


PLACES: Mapping[str, Kind] = MappingProxyType(
    {
        "process": Kind(make=process_place, asked=False),
        "docker": Kind(make=docker_place, service="docker"),
        "lepton": Kind(make=lepton_place, far=True, scheduled=True, serves=False),
        "ray": Kind(make=ray_place, far=True, scheduled=True),
        "slurm": Kind(make=slurm_place, far=True, scheduled=True),
        "slurm-docker": Kind(make=slurm_docker_place, scheduled=True),
    }
)


def named(**abilities: bool) -> list[Any]:
    """Parameters for the places that have these abilities, or lack those that are False."""
    return [
        pytest.param(name, marks=[pytest.mark.service(kind.service)] if kind.service else [])
        for name, kind in PLACES.items()
        if all(getattr(kind, ability) is wanted for ability, wanted in abilities.items())
    ]


def on(**abilities: bool) -> pytest.MarkDecorator:
    """For a test, or the tests of a module, that hold on some places only."""
    return pytest.mark.parametrize("place", named(**abilities), indirect=True)
