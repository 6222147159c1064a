"""How a node runs a job: pieces of shell for no container at all and for each container runtime.

Every piece defines the same functions, which `launcher.node.node_script` calls:
`prepare` before anything starts, `launch` to start the job and wait for it (its exit code in `code`), `ask
SIGNAL` to pass a request on to it, `serve` to start the deployment, `clear` to leave nothing of both behind.
They may use what the node script defines: `here` (the job's folder), `say`, `fail`, `run`, `await`, `last`.
All text is POSIX sh; every value is quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from launcher.node.engine import engine
from launcher.node.processes import apptainer, none, pyxis
from launcher.node.text import Piece, code_folder, fill

__all__ = ["RUNTIMES", "code_folder", "fill"]

RUNTIMES: Mapping[str, Piece] = MappingProxyType(
    {
        "none": none,
        "docker": engine("docker"),
        "podman": engine("podman"),
        "pyxis": pyxis,
        "apptainer": apptainer,
    }
)
