"""What `execution` settings come to for the jobs of a run: resources, mounts, the backend's own settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.nearest import did_you_mean
from launcher.backends.protocol import MODULES
from launcher.configuration import docker_flags
from launcher.configuration.model import Execution
from launcher.jobs import JobPlan, Mount, Resources, RunPlan
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


def unknown_backend(name: str) -> str | None:
    """A complete line where there is no such backend."""
    if name in MODULES:
        return None
    near, known = did_you_mean(name, MODULES), ", ".join(sorted(MODULES))
    return f"execution.type: no backend {name!r}{near}; there are {known}"


def run_folder(identity: str, parent: Path | None, execution: Execution) -> Path:
    """The run's folder on this machine: below `parent`, else where the configuration has it, else in the
    working folder. On another machine `execution.output_dir` is that one's."""
    own = None if execution.remote else execution.output_dir
    return (parent or Path(own or DEFAULT_OUTPUT)).resolve() / identity


def remote_folder(identity: str, execution: Execution) -> str | None:
    """The run's folder where its jobs run, where that is not this machine's."""
    root = execution.remote
    return f"{root.rstrip('/')}/{identity}" if root else None


def run_of(
    jobs: Sequence[JobPlan],
    execution: Execution,
    settings: Mapping[str, Any],
    *,
    run_id: str,
    directory: Path,
) -> RunPlan:
    """The run of these jobs, of tasks and of recipes alike."""
    return RunPlan(
        run_id=run_id,
        backend=execution.backend,
        directory=str(directory),
        remote=remote_folder(run_id, execution),
        jobs=tuple(jobs),
        settings=settings,
        parallel=execution.parallel or (len(jobs) if execution.mode == "parallel" else 1),
        retries=execution.retries,
        on_failure=execution.on_failure,
        deadline=execution.deadline,
        queue_timeout=execution.queue_timeout,
    )


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
