"""Model servers beside an evaluation: from a configuration to the command that starts one.

`generic` runs any command; `vllm`, `sglang` and `nim` know their server's. Sources: the servers' own command
line references (vllm serve, python3 -m sglang.launch_server, NIM for LLMs' environment variables).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from launcher.configuration.docker_flags import FLAGS
from launcher.configuration.model import Deployment as Settings
from launcher.jobs import Deployment, Mount, Resources
from launcher.secrets import Environment

IMAGES: Mapping[str, str] = {
    "vllm": "docker.io/vllm/vllm-openai:latest",
    "sglang": "docker.io/lmsysorg/sglang:latest",
}
PATHS: Mapping[str, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "completions_logprob": "/v1/completions",
    "embedding": "/v1/embeddings",
}


def build(
    settings: Settings, environ: Mapping[str, str], resources: Resources, *, secrets_where: str = "host"
) -> tuple[Deployment | None, list[str]]:
    """The server to start (None for `none`), and what is wrong with its settings."""
    if settings.type == "none":
        return None, []
    environment = Environment(secrets_where)
    environment.add(settings.env_vars, environ, "deployment.env_vars")
    problems = environment.problems
    command, wrong = _COMMANDS[settings.type](settings)
    problems += wrong
    mounts, wrong = read_mounts(settings.mounts, "deployment.mounts")
    problems += wrong
    env = dict(environment.literal)
    if settings.type == "nim" and settings.nim_model_name:
        env.setdefault("NIM_MODEL_NAME", settings.nim_model_name)
        env.setdefault("NIM_HTTP_API_PORT", str(settings.port))
    deployment = Deployment(
        type=settings.type,
        image=settings.image or IMAGES.get(settings.type),
        command=command,
        port=settings.port,
        health_path=settings.health_path,
        deadline=settings.deadline,
        env=env,
        secrets=tuple(environment.secrets.values()),
        mounts=tuple(mounts),
        resources=resources,
    )
    return deployment, problems


def url(settings: Settings, endpoint_type: str) -> str:
    """Where the evaluation reaches the server: it shares the job's network."""
    path = settings.endpoint_path or PATHS.get(endpoint_type, "/v1/chat/completions")
    return f"http://127.0.0.1:{settings.port}{path}"


def model_name(settings: Settings) -> str | None:
    return (
        settings.served_model_name
        or settings.nim_model_name
        or settings.hf_model_handle
        or settings.checkpoint_path
    )


def read_mounts(texts: tuple[str, ...], place: str) -> tuple[list[Mount], list[str]]:
    """`SOURCE:/TARGET[:ro]`, as `docker run --volume` takes it."""
    mounts, problems = [], []
    for index, text in enumerate(texts):
        try:
            mounts.append(Mount(**FLAGS["--volume"].read(text)))
        except ValueError as problem:
            problems.append(f"{place}[{index}]: {problem}")
    return mounts, problems


Built = tuple[tuple[str, ...], list[str]]


def _generic(settings: Settings) -> Built:
    if not settings.command:
        return (), ["deployment.command: a generic deployment needs the command that starts its server"]
    command = shlex.split(settings.command) if isinstance(settings.command, str) else settings.command
    return tuple(command), []


def _vllm(settings: Settings) -> Built:
    model, problems = _model(settings)
    command = [
        "vllm",
        "serve",
        model,
        "--port",
        str(settings.port),
        *_parallelism(settings, "--{}-parallel-size"),
    ]
    if settings.max_model_len:
        command += ["--max-model-len", str(settings.max_model_len)]
    if settings.gpu_memory_utilization:
        command += ["--gpu-memory-utilization", str(settings.gpu_memory_utilization)]
    return _named(command, settings), problems


def _sglang(settings: Settings) -> Built:
    model, problems = _model(settings)
    command = ["python3", "-m", "sglang.launch_server", "--model-path", model, "--host", "0.0.0.0"]  # noqa: S104 # other containers ask it
    command += ["--port", str(settings.port), *_parallelism(settings, "--{}-parallel-size")]
    if settings.max_model_len:
        command += ["--context-length", str(settings.max_model_len)]
    if settings.gpu_memory_utilization:
        command += ["--mem-fraction-static", str(settings.gpu_memory_utilization)]
    return _named(command, settings), problems


def _nim(settings: Settings) -> Built:
    """NIM images start by themselves; the model and the port are environment variables."""
    problems = [] if settings.image else ["deployment.image: a NIM is an image of its own; name it"]
    return tuple(shlex.split(settings.extra_args)), problems


def _model(settings: Settings) -> tuple[str, list[str]]:
    given = [g for g in (settings.checkpoint_path, settings.hf_model_handle) if g]
    if len(given) == 1:
        return given[0], []
    return "", ["deployment: exactly one of checkpoint_path and hf_model_handle says which model is served"]


def _parallelism(settings: Settings, flag: str) -> list[str]:
    sizes = (
        ("tensor", settings.tensor_parallel_size),
        ("pipeline", settings.pipeline_parallel_size),
        ("data", settings.data_parallel_size),
    )
    return [word for name, value in sizes if value > 1 for word in (flag.format(name), str(value))]


def _named(command: list[str], settings: Settings) -> tuple[str, ...]:
    name = model_name(settings)
    served = ["--served-model-name", name] if name else []
    return (*command, *served, *shlex.split(settings.extra_args))


_COMMANDS: Mapping[str, Callable[[Settings], Built]] = {
    "generic": _generic,
    "vllm": _vllm,
    "sglang": _sglang,
    "nim": _nim,
}
