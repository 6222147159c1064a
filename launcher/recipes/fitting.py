"""Whether a backend can give a recipe what it asks for: its image, its nodes and GPUs, its Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from catalog.errors import UsageError
from catalog.references import ImageRef, Transport
from launcher.plans.execution_settings import unknown_backend
from launcher.recipes import launching
from launcher.recipes.compiling import Compiled
from launcher.recipes.python_versions import suits
from launcher.recipes.runspec import Runspec

# Backends whose jobs have one node.
_ALONE = ("process", "docker")
# Backends that start a job's command on several.
_SPREADING = ("slurm", "lepton")


def image(spec: Runspec, compiled: Compiled, problems: list[str], warnings: list[str]) -> str | None:
    """The image that it runs in; complete lines are added to what is wrong, and to what is only doubtful."""
    backend, named = compiled.how.execution.backend, compiled.image
    if (unknown := unknown_backend(backend)) is not None:
        problems.append(unknown)
        return None
    if not compiled.how.execution.contained:
        if named and not spec.dependencies:
            warnings.append(
                f"{backend} runs no containers: {spec.title} has to do without its image, "
                "and names no dependencies"
            )
        return None
    if not named:
        problems.append(
            f"{backend} runs containers, and no image is named: say tool.runspec.image or "
            "execution.image, or run it with execution.type=process"
        )
        return None
    if named.startswith("/"):
        # A squashed image on a cluster's own disk: that backend's business.
        return named
    try:
        ref = ImageRef.parse(named)
    except UsageError as error:
        problems.append(f"image {named!r}: {error.message}")
        return named
    if ref.transport is not Transport.REGISTRY:
        problems.append(f"image {named}: {backend} can start what lies in a registry only")
    elif ref.digest is None:
        warnings.append(f"image {named} is not pinned: another run may get another; add @sha256:…")
    return named


def problems(spec: Runspec, compiled: Compiled) -> Iterator[str]:
    """Complete lines: what the backend, or the way to launch, has no way to give."""
    backend = compiled.how.execution.backend
    nodes, gpus = compiled.nodes, compiled.gpus
    if nodes > 1 and backend in _ALONE:
        yield (f"it asks for {nodes} nodes, and {backend} has one: execution.nodes=1 runs it on that")
    elif nodes > 1 and launching.on_every_node(spec) and backend not in _SPREADING:
        yield (
            f"torchrun is not started on {nodes} nodes by {backend}: {' and '.join(_SPREADING)} do "
            "that, and execution.nodes=1 runs it on one"
        )
    if gpus == -1 and backend not in _ALONE:
        yield (
            f"it asks for all GPUs of a node, and {backend} wants to know how many: "
            "execution.gpus_per_node=8, for example"
        )
    # Where its environment is made here, of this Python.
    wanted, ours = spec.requires_python, sys.version_info[:3]
    if backend == "process" and wanted and not suits(wanted, ours):
        here = ".".join(map(str, ours))
        yield (
            f"it requires Python {wanted}, and evaldock runs with {here}: run it in an image, or run "
            "evaldock with another Python"
        )
