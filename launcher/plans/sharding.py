"""One evaluation as several jobs, each a part of its items, and a last one that joins what they left.

The harness does both (its ability `shards`): `config.params.extra.shard` set to `I/N` makes it do the I-th of
N parts, and `PROGRAM merge PART... --output-dir RESULTS`, where PROGRAM is the name of its package, joins
their results folders into those that the whole would have had. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from catalog.models import Harness
from catalog.normal_form import merge
from launcher.jobs import INPUTS, JobPlan

ABILITY = "shards"
# Numbers with as many digits, so that parts stand in order wherever names are sorted.
_NAME = "shard{:0{}d}"


def laid_over(overrides: Mapping[str, Any], number: int, count: int) -> dict[str, Any]:
    """The overrides of part `number`, from 1 to `count`."""
    return merge(overrides, {"config": {"params": {"extra": {"shard": f"{number}/{count}"}}}})


def problem(harness: Harness, overrides: Mapping[str, Any]) -> str | None:
    """Why an evaluation can't be sharded."""
    if ABILITY not in harness.abilities:
        return (
            f"{harness.name} can't be sharded: its entry {harness.entry!r} in mapping.toml doesn't have the "
            f"ability {ABILITY!r}"
        )
    params = overrides.get("config", {}).get("params") or {}
    if (params.get("extra") or {}).get("shard") is not None:
        return "`shards` sets config.params.extra.shard itself; leave out one of the two"
    return None


def joined(
    whole: JobPlan, parts: Sequence[JobPlan], *, harness: Harness, seen: Callable[[str, str], str]
) -> JobPlan:
    """`whole`, the job that nobody ran in one piece, as the one that joins the parts. It is the evaluation:
    what is recorded and compared is its, under the hashes of the whole. It asks nobody and needs no key.
    `seen` gives an input's path as the job sees it, from its name and the other job's directory."""
    digits = len(str(len(parts)))
    inputs = {_NAME.format(at, digits): part.directory for at, part in enumerate(parts, 1)}
    folders = [seen(name, directory) for name, directory in inputs.items()]
    words = [harness.pkg_name, "merge", *folders, "--output-dir", str(whole.config["config"]["output_dir"])]
    return replace(
        whole,
        command=shlex.join(words),
        inputs=inputs,
        depends_on=tuple(part.key for part in parts),
        secrets=(),
        deployment=None,
        resources=replace(whole.resources, gpus=None, gpu_ids=(), nodes=1),
    )


def seen_from(root: str, *, contained: bool) -> Callable[[str, str], str]:
    """As `RunPlan.inputs` tells them; `root` is the run's folder where its jobs run."""
    return lambda name, directory: f"{INPUTS}/{name}" if contained else f"{root}/{directory}/artifacts"
