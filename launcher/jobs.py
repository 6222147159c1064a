"""The launcher's values: what a run is planned as, what backends are asked, what they answer.

All frozen and JSON-able through `dataclasses.asdict`: a plan can be printed (`--dry-run`), kept (`job.json`)
and compared. Secrets occur by name only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# Where a container sees the job's folder, its results, those of other jobs (by name) and shipped code.
JOB_FOLDER, RESULTS, INPUTS, CODE = "/job", "/results", "/inputs", "/code"


class State(StrEnum):
    """Where a job stands. `unknown` means that nobody could be asked: never terminal."""

    PLANNED = "planned"  # recorded, not yet handed to a backend
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # the backend accepted it and knows it no more, and it left no exit.json
    UNKNOWN = "unknown"

    @property
    def terminal(self) -> bool:
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretName:
    """An environment variable of the job whose value stays unwritten. `source` is the variable it is read
    from; `where` says on which side: `host` (the launcher's environment), `runtime` (the machine the job
    runs on) or `workspace` (a backend's own store, which knows it as `source`)."""

    name: str
    source: str
    where: str = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """`memory` and `shm` in bytes, `gpus` a count on each node (-1: all), `gpu_ids` devices; None:
    its default."""

    cpus: float | None = None
    memory: int | None = None
    shm: int | None = None
    gpus: int | None = None
    gpu_ids: tuple[str, ...] = ()
    nodes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The model that is asked. `key_name` is the variable in the job that holds its key. `served_by` names
    who knows the URL when the job is submitted; until then `url` stands for it."""

    model_id: str
    url: str
    type: str
    key_name: str | None = None
    served_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model server started beside the evaluation. `command` is argv, in which `{port}` is replaced where
    the job runs; `deadline` is how many seconds it may take until its health path answers."""

    type: str
    image: str | None
    command: tuple[str, ...]
    port: int
    health_path: str = "/health"
    deadline: float = 1800.0
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretName, ...] = ()
    mounts: tuple[Mount, ...] = ()
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """One task for one model, ready to be sent.

    `key` is deterministic for a run and a position in it: backends find a job again by it. `image` is pinned
    by digest, `packages` are what installs the harness without a container; `container` is what the harness's
    image is called, whether it is used or not. `config` is the effective task as the container contract's run
    configuration; `command` the rendered command for an image without that contract. `directory` is relative
    to the run's. `timeout` in seconds.

    `kind` is `evaluation`, which must leave results, `shard`, a part of one (see `launcher.plans.sharding`),
    whose results nobody publishes, or `recipe`, whose `config` is the compiled configuration and whose
    `setup` is shell text before its command. `code` is the sha256 of the code archive that is shipped with
    the job (see `launcher.code.packaging`). `inputs` are results of other jobs of the run that it reads: a
    name and the other job's `directory`. Its command is started on the first of its nodes,
    or `on_every_node`.
    """

    key: str
    run_id: str
    index: int
    task: str
    harness: str
    endpoint: Endpoint
    command: str
    config: Mapping[str, Any]
    directory: str
    image: str | None = None
    container: str = ""
    packages: tuple[str, ...] = ()
    abilities: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretName, ...] = ()
    mounts: tuple[Mount, ...] = ()
    resources: Resources = field(default_factory=Resources)
    network: str | None = None
    user: str | None = None
    timeout: float | None = None
    deployment: Deployment | None = None
    depends_on: tuple[str, ...] = ()
    task_sha: str = ""
    params_sha: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "evaluation"
    setup: str = ""
    code: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    on_every_node: bool = False

    @property
    def title(self) -> str:
        """The task for people, who want to tell its parts from each other."""
        if self.kind != "shard":
            return self.task
        return f"{self.task} {self.config['config']['params']['extra']['shard']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One invocation. `directory` is absolute on the launching machine; `remote` the run's folder where its
    jobs run, None where that is the same one. `settings` are the backend's own.
    `parallel` is how many jobs may run at once; `retries` counts further attempts after the first.
    `queue_timeout` is how many seconds a submitted job may wait for its start."""

    run_id: str
    backend: str
    directory: str
    jobs: tuple[JobPlan, ...]
    remote: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    parallel: int = 1
    retries: int = 0
    on_failure: str = "continue"  # or "stop-all"
    deadline: float | None = None
    queue_timeout: float | None = None

    def folder(self, job: JobPlan) -> str:
        """The job's folder where it runs."""
        return f"{self.remote or self.directory}/{job.directory}"

    def results(self, job: JobPlan, *, contained: bool) -> str:
        """Its results folder as the job sees it."""
        return RESULTS if contained else f"{self.folder(job)}/artifacts"

    def inputs(self, job: JobPlan, *, contained: bool) -> dict[str, str]:
        """Results of the other jobs that it reads, by name, as it sees them."""
        root = self.remote or self.directory
        return {
            name: f"{INPUTS}/{name}" if contained else f"{root}/{directory}/artifacts"
            for name, directory in job.inputs.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHandle:
    """Enough to find a submitted job again from another process: its plan's key, the backend's own id, and
    the job's directory there. `native_id` is empty where a launcher ended before it learnt it: backends then
    find the job by key and attempt."""

    key: str
    backend: str
    native_id: str
    directory: str
    attempt: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """`reason` in words, `native` the backend's own word for the state, `seen` in seconds since the epoch,
    as is `started`: when the backend says that a running job began to run, where it does. `native_id` is the
    backend's own id of a job that was found without one, where it tells."""

    state: State
    reason: str | None = None
    exit_code: int | None = None
    native: str | None = None
    seen: float = 0.0
    started: float | None = None
    native_id: str | None = None


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes of the job's log from a cursor; `next` is the cursor to go on from. An empty chunk doesn't mean
    that the job has ended."""

    data: bytes
    next: int
