"""What a configuration may say under `execution` for Lepton, in the words of Lepton's API if it has any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from launcher.configuration.model import Execution, Size, Strict

if TYPE_CHECKING:
    from launcher.jobs import JobPlan

# Where runs have their folders in a container that no volume is mounted in.
OWN_DISK = "/tmp/evaldock"  # noqa: S108 # in the job's container, which nobody shares
# What a resource shape decides, or Lepton has no such thing.
_SHAPED = ("docker_args", "memory_limit", "cpus", "gpus", "network", "user")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


def _volume(value: Any) -> Any:
    """`PATH:MOUNT_PATH:VOLUME`, as the `lep` command takes it."""
    if not isinstance(value, str):
        return value
    path, _, rest = value.partition(":")
    mount_path, _, source = rest.partition(":")
    if not (path and mount_path and source):
        raise ValueError("expected from, path and mount_path, or PATH:MOUNT_PATH:VOLUME")
    return {"from": source, "path": path, "mount_path": mount_path}


class Volume(Strict):
    """`source` (written `from`) is the volume, such as `node-nfs:shared`; `path` a folder in it."""

    model_config = ConfigDict(populate_by_name=True)

    source: Annotated[str, Field(alias="from", min_length=1)]
    path: Annotated[str, Field(pattern="^/")]
    mount_path: Annotated[str, Field(pattern="^/")]
    read_only: bool = False


class Serving(Strict):
    """The endpoint that is created for a run with a `deployment`. Times in seconds."""

    resource_shape: str | None = None
    node_group: Names = ()
    min_replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    no_traffic_timeout: Annotated[int, Field(ge=0)] = 3600


class Lepton(Execution):
    """`output_dir` is a folder as jobs see it, `output_dir_here` the same one as this machine sees it. Times
    in seconds, sizes in bytes."""

    type: str = "lepton"
    resource_shape: str
    num_replicas: Annotated[int, Field(ge=1)] = 1
    workspace: str | None = None
    api_url: Annotated[str, Field(pattern="^https?://")] | None = None
    node_group: Names = ()
    node_names: Names = ()
    reservation: str | None = None
    priority: str | None = None
    image_pull_secrets: Names = ()
    visibility: Literal["private", "public"] | None = None
    volumes: tuple[Annotated[Volume, BeforeValidator(_volume)], ...] = ()
    output_dir_here: str | None = None
    results_limit: Size = 4 << 20
    ttl_seconds_after_finished: Annotated[int, Field(ge=600)] = 259_200
    request_timeout: Annotated[float, Field(gt=0)] = 30.0
    endpoint: Serving = Serving()

    @model_validator(mode="before")
    @classmethod
    def _mounts_are_volumes(cls, data: Any) -> Any:
        """`mounts` of other backends are folders of their machines; here they are volumes of a node group."""
        if isinstance(data, dict) and data.get("mounts"):
            rest = {key: value for key, value in data.items() if key != "mounts"}
            return {**rest, "volumes": [*data["mounts"], *data.get("volumes", ())]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Lepton:
        for name in _SHAPED:
            if getattr(self, name):
                raise ValueError(f"{name} means nothing on Lepton: resource_shape says what a job gets")
        if self.output_dir is not None and not self.output_dir.startswith("/"):
            raise ValueError(
                f"output_dir is a folder in the jobs' containers: expected a whole path, "
                f"got {self.output_dir!r}"
            )
        if self.output_dir_here is not None and not self._mounted():
            raise ValueError(
                "output_dir_here says where this machine sees output_dir, which lies on none of the mounts"
            )
        return self

    def _mounted(self) -> bool:
        root = f"{(self.output_dir or OWN_DISK).rstrip('/')}/"
        return any(root.startswith(f"{volume.mount_path.rstrip('/')}/") for volume in self.volumes)

    @property
    def remote(self) -> str | None:
        return (self.output_dir or OWN_DISK).rstrip("/")

    @property
    def fixed_paths(self) -> bool:
        return False

    @property
    def secrets_where(self) -> str:
        """Secrets are the workspace's: a name means one of them, and none of this machine is sent."""
        return "runtime"

    def check(self, jobs: Sequence[JobPlan]) -> tuple[list[str], list[str]]:
        problems = [
            f"{job.task}: {max(self.num_replicas, job.resources.nodes)} replicas would each do all of it; "
            "only recipes that start with torchrun share their work"
            for job in jobs
            if max(self.num_replicas, job.resources.nodes) > 1 and not job.on_every_node
        ]
        problems += [
            f"{job.task}: a deployment serves the model of tasks, and Lepton starts none beside a recipe"
            for job in jobs
            if job.deployment and job.endpoint.served_by is None
        ]
        servers = [job.deployment for job in jobs[:1] if job.deployment]
        if any(server.mounts for server in servers):
            problems.append(
                "deployment.mounts: Lepton mounts no folders of machines; execution.mounts holds its volumes"
            )
        if any(server.type == "nim" and server.command for server in servers):
            problems.append(
                "deployment.extra_args: Lepton has no arguments for an image that starts by itself"
            )
        return problems, []

    def settings(self) -> dict[str, Any]:
        own = self.model_dump(mode="json", by_alias=True, exclude=set(Execution.model_fields))
        return {**own, "output_dir": self.remote}
