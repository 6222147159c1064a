"""Plans as plain data and back, for `run.json`, `job.json`, the database and `--dry-run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.jobs import Deployment, Endpoint, JobPlan, Mount, Resources, RunPlan, SecretName
from launcher.runs import run_directory


def config_text(config: Mapping[str, Any]) -> str:
    """A compiled configuration as YAML; what it names as secrets stands in it by name."""
    import yaml  # noqa: PLC0415 # only where a plan is made

    text: str = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=110)
    return text


def keep_config(directory: str, config: Mapping[str, Any]) -> None:
    """Writes config.yaml into the run's folder, where there is a configuration."""
    if config:
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        run_directory.write_bytes(folder / run_directory.CONFIG, config_text(config).encode())


def plan_to_data(plan: RunPlan) -> dict[str, Any]:
    return dataclasses.asdict(plan)


def plan_from_data(data: Mapping[str, Any]) -> RunPlan:
    return RunPlan(**{**data, "jobs": tuple(job_from_data(job) for job in data["jobs"])})


def job_from_data(data: Mapping[str, Any]) -> JobPlan:
    return JobPlan(
        **{
            **data,
            "endpoint": Endpoint(**data["endpoint"]),
            "packages": tuple(data["packages"]),
            "abilities": tuple(data["abilities"]),
            "secrets": _secrets(data),
            "mounts": _mounts(data),
            "resources": _resources(data),
            "deployment": _deployment(data["deployment"]),
            "depends_on": tuple(data["depends_on"]),
        }
    )


def _deployment(data: Mapping[str, Any] | None) -> Deployment | None:
    if data is None:
        return None
    return Deployment(
        **{
            **data,
            "command": tuple(data["command"]),
            "secrets": _secrets(data),
            "mounts": _mounts(data),
            "resources": _resources(data),
        }
    )


def _secrets(data: Mapping[str, Any]) -> tuple[SecretName, ...]:
    return tuple(SecretName(**secret) for secret in data["secrets"])


def _mounts(data: Mapping[str, Any]) -> tuple[Mount, ...]:
    return tuple(Mount(**mount) for mount in data["mounts"])


def _resources(data: Mapping[str, Any]) -> Resources:
    given = data["resources"]
    return Resources(**{**given, "gpu_ids": tuple(given["gpu_ids"])})
