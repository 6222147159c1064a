"""Plans of recipes in the working folder, and what is told of those that can't be planned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import EvaldockError
from launcher import parse
from launcher.jobs import JobPlan
from launcher.plans.planning import Planned
from launcher.profiles import surroundings
from launcher.recipes.planning import plan_recipe

IMAGE = f"registry.example/team/image@sha256:{'1' * 64}"
SLURM = """
[cluster]
executor = "slurm"
output_dir = "/shared/runs"
hostname = "head"
nodes = 4
gpus_per_node = 4
image = "registry.example/profile:1"
mounts = ["/shared:/shared"]
env = { FROM = "profile", BOTH = "profile" }
"""


def planned(
    path: Path | str = "recipe.py",
    *overrides: str,
    config: str | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Planned:
    environ = environ if environ is not None else os.environ
    around = surroundings.of(profile, kind="recipes", run={"id": "i"}, environ=environ, dry_run=True)
    return plan_recipe(
        parse(path),
        config,
        overrides,
        around=around,
        environ=environ,
        run_id="0123456789abcdef",
        parent=Path("/runs"),
        dry_run=True,
    )


def job(*arguments: Any, **named: Any) -> JobPlan:
    (found,) = planned(*arguments, **named).plan.jobs
    return found


def problem(kind: type[EvaldockError], *arguments: Any, **named: Any) -> str:
    with pytest.raises(kind) as caught:
        planned(*arguments, **named)
    return str(caught.value)
