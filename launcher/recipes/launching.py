"""The command that starts a recipe, by the ways of `run.launch`. Pure.

Paths are the job's own: `EVALDOCK_CODE` is where the shipped code lies there, `EVALDOCK_CONFIG` the compiled
configuration. No path of the launching machine is in it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType

from launcher.recipes.runspec import Runspec

CONFIG = '"$EVALDOCK_CONFIG"'
# Where torchrun's processes on several nodes find each other, on the first of them.
MEETING = "$EVALDOCK_HEAD:29500"


def command(spec: Runspec, script: str, *, nodes: int, gpus: int | None, key: str, shebang: str = "") -> str:
    """`script` is its path in the shipped code, `shebang` its first line without the `#!`, `gpus` a count on
    each node (-1: all)."""
    path = _below_code(script)
    if spec.run.cmd is not None:
        call = spec.run.cmd.replace("{script}", path).replace("{config}", CONFIG)
    else:
        starter = _STARTERS[spec.run.launch](nodes, gpus, key, shebang)
        call = f"{starter}{path} --config {CONFIG}"
    if spec.run.workdir is None:
        return call
    folder = spec.run.workdir
    return f"cd {shlex.quote(folder) if folder.startswith('/') else _below_code(folder)} && {call}"


def _below_code(path: str) -> str:
    return f'"$EVALDOCK_CODE"/{shlex.quote(path)}'


def _direct(_nodes: int, _gpus: int | None, _key: str, shebang: str) -> str:
    """As execve(2) would: the interpreter, what follows it as one argument, the script."""
    interpreter, _, rest = shebang.strip().partition(" ")
    if not interpreter:
        return _python(1, None, "", "")
    return " ".join(shlex.quote(word) for word in (interpreter, rest.strip()) if word) + " "


def _python(_nodes: int, _gpus: int | None, _key: str, _shebang: str) -> str:
    return "python3 "


def _torchrun(nodes: int, gpus: int | None, key: str, _shebang: str) -> str:
    each = "gpu" if gpus is None or gpus < 0 else str(max(1, gpus))
    if nodes == 1:
        return f"torchrun --standalone --nproc_per_node={each} "
    meeting = f'--rdzv_backend=c10d --rdzv_id={key} --rdzv_endpoint="{MEETING}"'
    return f"torchrun --nnodes={nodes} --nproc_per_node={each} {meeting} "


def on_every_node(spec: Runspec) -> bool:
    """Whether the call is made on each node; on the first alone otherwise."""
    return spec.run.launch == "torchrun"


_STARTERS: Mapping[str, Callable[[int, int | None, str, str], str]] = MappingProxyType(
    {
        "direct": _direct,
        "python": _python,
        "torchrun": _torchrun,
        # The backend starts the cluster and exports RAY_ADDRESS; the script is its driver, on the first node.
        "ray": _python,
    }
)
