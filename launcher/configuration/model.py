"""What a run's configuration may say, checked all at once.

The shape follows the field's YAML (`execution`, `deployment`, `target.api_endpoint`, `evaluation.tasks`), so
that configurations written for NeMo Evaluator Launcher work as they stand.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from catalog.errors import InvalidInput
from catalog.nearest import did_you_mean
from launcher.configuration.chosen_backend import settle
from launcher.configuration.compose import Composed
from launcher.configuration.docker_flags import size
from launcher.configuration.groups import EXECUTIONS

if TYPE_CHECKING:
    from launcher.jobs import JobPlan

EndpointType = Literal[
    "chat", "completions", "completions_logprob", "embedding", "vlm", "undefined", "lepton"
]
Size = Annotated[int, BeforeValidator(size)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Execution(Strict):
    """`memory_limit` and `shm_size` in bytes or `64g`; times in seconds. What only one backend understands is
    listed in that backend's reference."""

    type: str = "docker"
    output_dir: str | None = None
    mode: Literal["sequential", "parallel"] = "sequential"
    parallel: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=0)] = 0
    on_failure: Literal["continue", "stop-all"] = "continue"
    timeout: Annotated[float, Field(gt=0)] | None = None
    queue_timeout: Annotated[float, Field(gt=0)] | None = None
    deadline: Annotated[float, Field(gt=0)] | None = None
    docker_args: tuple[str, ...] = ()
    memory_limit: Size | None = None
    shm_size: Size | None = None
    cpus: Annotated[float, Field(gt=0)] | None = None
    gpus: int | Literal["all"] | None = None
    network: str | None = None
    user: str | None = None
    mounts: tuple[str, ...] = ()
    env_vars: dict[str, str] = Field(default_factory=dict)

    @property
    def backend(self) -> str:
        return {"local": "docker"}.get(self.type, self.type)

    @property
    def contained(self) -> bool:
        """Whether jobs run in the harness's container; otherwise its packages are installed."""
        return self.type != "process"

    @property
    def fixed_paths(self) -> bool:
        """Whether jobs see their folders as /results and the like, and not under their real paths."""
        return self.contained

    @property
    def secrets_where(self) -> str:
        """The side that a bare name of a variable is read on: see `SecretName.where`."""
        return "host"

    @property
    def remote(self) -> str | None:
        """The folder on the other side below which runs have theirs; None where it is this machine's."""
        return None

    def check(self, _jobs: Sequence[JobPlan]) -> tuple[list[str], list[str]]:
        """What is wrong with these jobs on this backend, and what their owner should know: complete lines."""
        return [], []

    def settings(self) -> dict[str, Any]:
        """What only this backend understands, as plain data."""
        return self.model_dump(mode="json", exclude=set(Execution.model_fields))


class Deployment(Strict):
    """A model server beside the evaluation. `deadline`: seconds until it must be healthy. `served_model_name`
    is what the endpoint calls the model."""

    type: Literal["none", "generic", "vllm", "sglang", "nim"] = "none"
    image: str | None = None
    command: str | tuple[str, ...] | None = None
    port: Annotated[int, Field(gt=0, lt=65536)] = 8000
    health_path: str = "/health"
    endpoint_path: str | None = None
    deadline: Annotated[float, Field(gt=0)] = 1800.0
    served_model_name: str | None = None
    checkpoint_path: str | None = None
    hf_model_handle: str | None = None
    nim_model_name: str | None = None
    tensor_parallel_size: Annotated[int, Field(ge=1)] = 1
    pipeline_parallel_size: Annotated[int, Field(ge=1)] = 1
    data_parallel_size: Annotated[int, Field(ge=1)] = 1
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    extra_args: str = ""
    env_vars: dict[str, str] = Field(default_factory=dict)
    mounts: tuple[str, ...] = ()


class ApiEndpoint(Strict):
    """`deployment_name` is the endpoint of a Lepton workspace that serves the model (`type: lepton`)."""

    url: str | None = None
    deployment_name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=63)] | None = None
    model_id: str | None = None
    api_key_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    type: EndpointType | None = None
    stream: bool | None = None
    adapter_config: dict[str, Any] | None = None
    capabilities: tuple[str, ...] | None = None


class Target(Strict):
    api_endpoint: ApiEndpoint = Field(default_factory=ApiEndpoint)


class Task(Strict):
    """`overrides` holds dotted or nested keys of the effective task (`config.params.temperature`)."""

    name: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    nemo_evaluator_config: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict)
    endpoint_type: EndpointType | None = None
    env_vars: dict[str, str] = Field(default_factory=dict)
    container: str | None = None
    shards: Annotated[int, Field(ge=1, le=1000)] = 1
    depends_on: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    timeout: Annotated[float, Field(gt=0)] | None = None


def _named(value: Any) -> Any:
    return (
        [{"name": task} if isinstance(task, str) else task for task in value]
        if isinstance(value, list)
        else value
    )


class Evaluation(Strict):
    tasks: Annotated[tuple[Task, ...], BeforeValidator(_named)] = ()
    overrides: dict[str, Any] = Field(default_factory=dict)
    nemo_evaluator_config: dict[str, Any] = Field(default_factory=dict)
    env_vars: dict[str, str] = Field(default_factory=dict)
    required_env_vars: tuple[str, ...] = ()


class RunConfig(Strict):
    """`target` is one model, `targets` several; each task runs for each of them."""

    execution: Execution = Field(default_factory=Execution)
    deployment: Deployment = Field(default_factory=Deployment)
    target: Target = Field(default_factory=Target)
    targets: tuple[Target, ...] = ()
    evaluation: Evaluation = Field(default_factory=Evaluation)


def model_for(backend: str) -> type[RunConfig]:
    """The model of a configuration for this backend: `execution` has the backend's own settings, too."""
    target = EXECUTIONS.get(backend.strip().lower())
    if target is None:
        return RunConfig
    module, _, name = target.partition(":")
    own = getattr(importlib.import_module(module), name)
    return create_model("RunConfig", __base__=RunConfig, execution=(own, Field(default_factory=own)))


def validate(composed: Composed) -> RunConfig:
    """Raises InvalidInput with every mistake: its key path, the file it stands in, the nearest valid name."""
    composed = settle(composed)
    execution = composed.data.get("execution")
    model = model_for(str(execution.get("type", ""))) if isinstance(execution, dict) else RunConfig
    try:
        return model.model_validate(composed.data)
    except ValidationError as error:
        problems = [_problem(composed, model, detail) for detail in error.errors(include_url=False)]
        raise InvalidInput("the configuration has mistakes:", problems) from None


def _problem(composed: Composed, whole: type[RunConfig], detail: Mapping[str, Any]) -> str:
    path = [part for part in detail["loc"] if not _is_branch(part)]
    where = f"{_dotted(path)} ({composed.source(path)})"
    if detail["type"] == "extra_forbidden":
        known = _fields_at(whole, path[:-1])
        near = did_you_mean(str(path[-1]), known)
        return f"{where}: no such setting{near or '; known: ' + ', '.join(sorted(known))}"
    value = detail.get("input")
    got = (
        f", got {value!r:.80}" if not isinstance(value, Mapping | Sequence) or isinstance(value, str) else ""
    )
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}{got}"


def _is_branch(part: str | int) -> bool:
    # Where a field has several types, pydantic adds the one it tried to the path.
    return isinstance(part, str) and (
        part in ("str", "int", "none") or part.startswith(("tuple[", "literal["))
    )


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _fields_at(whole: type[RunConfig], path: Sequence[str | int]) -> list[str]:
    model: type[BaseModel] = whole
    for part in path:
        own = model.model_fields.get(str(part))
        if own is not None and isinstance(own.annotation, type) and issubclass(own.annotation, BaseModel):
            model = own.annotation
        else:
            model = _MODELS.get(str(part), model)
    return list(model.model_fields)


_MODELS: Mapping[str, type[BaseModel]] = {"targets": Target, "tasks": Task}
