"""What a configuration may say under `execution` for Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from launcher.configuration.model import Execution, Size, Strict

if TYPE_CHECKING:
    from launcher.jobs import JobPlan

# Where runs have their folders on nodes that share no storage with the launcher.
OWN_DISK = "/tmp/evaldock-ray"  # noqa: S108 # made by the job for its user alone
_NOT_ON_RAY = ("network", "user", "docker_args", "mounts")


class ClusterResources(Strict):
    """What a cluster must have at least, all its nodes together; `memory` in bytes or `64g`."""

    cpu: Annotated[float, Field(ge=0)] | None = None
    gpu: Annotated[float, Field(ge=0)] | None = None
    memory: Size | None = None


class Preflight(Strict):
    """What is looked at once before a run starts. With `strict_label_check` a label that no node has is
    refused, otherwise it is only told."""

    enabled: bool = True
    require_ray_endpoint: bool = True
    strict_label_check: bool = False
    required_node_labels: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    min_cluster_resources: ClusterResources = ClusterResources()


class RayExecution(Execution):
    """`shared_dir` is a folder that launcher and nodes see, `shared_dir_here` the same one under its path on
    this machine. Times in seconds, sizes in bytes or `64m`."""

    type: str = "ray"
    dashboard_url: str | None = None
    endpoint: str | None = None
    precreated_cluster: bool = True
    token_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    container_runtime: Literal["none", "docker", "podman", "apptainer"] = "none"
    shared_dir: Annotated[str, Field(pattern="^/")] | None = None
    shared_dir_here: Annotated[str, Field(pattern="^/")] | None = None
    storage_delay: Annotated[float, Field(ge=5)] = 60.0
    node_dir: Annotated[str, Field(pattern="^/")] = OWN_DISK
    results_limit: Size = 32 << 20
    working_dir: str | None = None
    forward_secrets: Literal["none", "runtime_env"] = "none"
    entrypoint_resources: dict[str, float] = Field(default_factory=dict)
    entrypoint_label_selector: dict[str, str] = Field(default_factory=dict)
    image_label_selectors: dict[str, dict[str, str]] = Field(default_factory=dict)
    image_label_key: str | None = None
    request_timeout: Annotated[float, Field(gt=0)] = 30.0
    pending_deadline: Annotated[float, Field(gt=0)] | None = 1800.0
    poll_deadline: Annotated[float, Field(gt=0)] = 900.0
    on_poll_failure: Literal["leave", "stop"] = "leave"
    preflight: Preflight | None = None

    @model_validator(mode="after")
    def _check(self) -> RayExecution:
        if not self.dashboard_url:
            raise ValueError("dashboard_url is not set (http://HEAD:8265), nor an endpoint it follows from")
        if self.shared_dir_here and not self.shared_dir:
            raise ValueError("shared_dir_here says where this machine sees shared_dir, which is not set")
        if self.container_runtime == "none":
            for name in _NOT_ON_RAY:
                if getattr(self, name):
                    raise ValueError(f"{name} means nothing without containers; set container_runtime")
        if self.container_runtime != "none" and self.working_dir:
            raise ValueError("working_dir means nothing in containers: Ray gives it to what runs on the node")
        if self.gpus == "all":
            raise ValueError("gpus: a Ray job asks for a number of GPUs")
        return self

    @property
    def contained(self) -> bool:
        return self.container_runtime != "none"

    @property
    def remote(self) -> str | None:
        return (self.shared_dir or self.node_dir).rstrip("/")

    def check(self, jobs: Sequence[JobPlan]) -> tuple[list[str], list[str]]:
        problems, warnings = self._secrets(jobs)
        if self.container_runtime in ("docker", "podman") and any(job.resources.gpu_ids for job in jobs):
            warnings.append(
                "a container gets the GPUs that the configuration names, whichever Ray reserves for its job: "
                "with several jobs on a node they may meet; with a number of them it gets the reserved ones"
            )
        return problems, warnings

    def _secrets(self, jobs: Sequence[JobPlan]) -> tuple[list[str], list[str]]:
        """A secret of the launcher's needs a way to the node that nobody else can read, or the owner's word
        that everybody may."""
        secrets = sorted(
            {
                secret.name
                for job in jobs
                for secret in (*job.secrets, *(job.deployment.secrets if job.deployment else ()))
                if secret.where == "host"
            }
        )
        named = ", ".join(secrets)
        if secrets and self.forward_secrets == "runtime_env":
            return [], [
                f"forward_secrets: {named} will stand in the job's runtime_env, where everybody who reaches "
                "the cluster's API can read them"
            ]
        if secrets and not self.shared_dir:
            return [
                f"execution: {named} can't be handed to a Ray node safely; write runtime:NAME for what is "
                "set on the nodes, set shared_dir for a file that only its owner can read, or opt in with "
                "forward_secrets: runtime_env"
            ], []
        return [], []

    def settings(self) -> dict[str, Any]:
        made = super().settings()
        if self.working_dir and "://" not in self.working_dir:
            # A later attempt may be submitted from another folder.
            made["working_dir"] = str(Path(self.working_dir).resolve())
        return {name: value for name, value in made.items() if value not in (None, {}, [])}
