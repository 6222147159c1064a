"""Which GPUs of a node a container is given: those that the scheduler reserved for its job.

Docker's engine, and what podman starts, stand outside of the job: "two GPUs" are the node's first two,
whoever has them. So they are named, by what the job's environment tells of them
(https://slurm.schedmd.com/gres.html, https://docs.ray.io/en/latest/ray-core/scheduling/accelerators.html).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from launcher.jobs import RunPlan
from launcher.node.text import fill, quoted

# The first so many ($1, or all) of the reserved ones, in the engine's words; $2 where none can be named.
_GRANTING = r"""
granted() {
  @reserved@
  case $list in
  '' | NoDevFiles | *[!0-9A-Za-z,:/-]*) echo "$2" ;;
  *)
    list=$(echo "$list" | cut -d , -f "1-$1")
    echo @words@
    ;;
  esac
}
"""
# A UUID means the same everywhere. Of Slurm's numbers those in CUDA_VISIBLE_DEVICES may count within the
# job's own control group, where the engine is not; the step's and the job's are the node's, and a step's are
# those of the node that it runs on.
_SLURM = """case ${CUDA_VISIBLE_DEVICES-} in
  GPU-* | MIG-*) list=$CUDA_VISIBLE_DEVICES ;;
  *) list=${SLURM_STEP_GPUS:-${SLURM_JOB_GPUS:-${CUDA_VISIBLE_DEVICES-}}} ;;
  esac"""
# A Ray node may stand in a job of Slurm's, which has more than Ray gives this one.
_RAY = "list=${CUDA_VISIBLE_DEVICES-}"
# Names of podman's (https://github.com/cncf-tags/container-device-interface), one option for each.
_CDI = "--device=nvidia.com/gpu="


def words(given: Mapping[str, Any], program: str) -> str:
    """Shell text for the options of `create` that ask for GPUs: devices that the configuration names are
    these, a number is of the reserved ones."""
    made = ""
    for request in given.get("device_requests", ()):
        ids, count = list(request.get("device_ids") or ()), int(request.get("count") or 0)
        first = "" if count < 0 else str(count)
        if program == "podman":
            named = [f"{_CDI}{device}" for device in ids or (["all"] if count < 0 else range(count))]
            # Unquoted, as each device is a word: none of them holds what a shell would change.
            made += quoted(named) if ids or not count else f"$(granted {quoted([first, ' '.join(named)])})"
        elif ids or not count:
            made += quoted([f'--gpus="device={",".join(ids)}"' if ids else "--gpus=0"])
        else:
            made += f'"--gpus=$(granted {quoted([first, first or "all"])})"'
        made += " "
    return made


def granting(run: RunPlan, program: str) -> str:
    """The function that those words call."""
    reserved = _SLURM if run.backend == "slurm" else _RAY
    named = f'"{_CDI}$list" | sed {shlex.quote(f"s|,| {_CDI}|g")}'
    if program == "docker":
        # It splits the option's value at commas, but for those in quotes.
        named = r'"\"device=$list\""'
    return fill(_GRANTING, reserved=reserved, words=named)
