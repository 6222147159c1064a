"""What `execution` settings come to for the jobs of a run: resources, mounts, the backend's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.configuration import docker_flags
from launcher.configuration.model import Execution
from launcher.jobs import Mount, Resources
from launcher.plans import deployments

DEFAULT_OUTPUT = "evaldock-runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`problems` and `warnings` are complete lines."""

    settings: Mapping[str, Any]
    resources: Resources
    mounts: tuple[Mount, ...]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def run_folder(identity: str, parent: Path | None, execution: Execution) -> Path:
    """The run's folder on this machine: below `parent`, else where the configuration has it, else in the
    working folder. On another machine `execution.output_dir` is that one's."""
    own = None if execution.remote else execution.output_dir
    return (parent or Path(own or DEFAULT_OUTPUT)).resolve() / identity


def read_execution(execution: Execution) -> Reading:
    settings, wrong = docker_flags.translate(execution.docker_args)
    problems = [f"execution.docker_args: {problem}" for problem in wrong]
    warnings = []
    if execution.backend == "process" and execution.docker_args:
        warnings.append("execution.docker_args mean nothing to the process backend")
    mounts, wrong = deployments.read_mounts(execution.mounts, "execution.mounts")
    problems += wrong
    flagged = {name: settings.pop(name, None) for name in ("gpus", "cpus", "memory_limit", "shm_size")}
    gpus = execution.gpus if execution.gpus is not None else flagged["gpus"]
    resources = Resources(
        cpus=execution.cpus or flagged["cpus"],
        memory=execution.memory_limit or flagged["memory_limit"],
        shm=execution.shm_size or flagged["shm_size"],
        gpus=-1 if gpus == "all" else gpus,
        gpu_ids=tuple(settings.pop("gpu_ids", ())),
        nodes=getattr(execution, "nodes", 1),  # only backends of clusters have several
    )
    return Reading(
        mounts=(*mounts, *(Mount(**mount) for mount in settings.pop("mounts", []))),
        settings=settings | execution.settings(),
        resources=resources,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )
