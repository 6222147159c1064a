"""Real input: wheels of published harnesses, and of the tool whose catalog of them ours is compared with."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.demo.wheels import download
from services.required import Unavailable
from services.shared import Shared

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RealWheels:
    """`harnesses`: wheels with `core_evals/*/framework.yml`; `launcher`: nemo-evaluator-launcher, with
    `nemo_evaluator_launcher/resources/{mapping.toml,all_tasks_irs.yaml}`."""

    harnesses: tuple[Path, ...]
    launcher: Path


def fetch_wheels(shared: Shared, folder: Path) -> dict[str, Any]:
    """Kept in `build/wheels`, where `make demo` looks too."""
    kept = _ROOT / "build" / "wheels"
    try:
        harnesses = download(_ROOT / "requirements" / "demo.txt", kept)
        (launcher,) = download(_ROOT / "requirements" / "reference.txt", kept)
    except subprocess.CalledProcessError as error:
        raise Unavailable("the wheels can't be had from PyPI") from error
    return {"harnesses": [str(wheel) for wheel in harnesses], "launcher": str(launcher)}
