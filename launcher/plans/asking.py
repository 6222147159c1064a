"""Whom a task asks and with what: endpoint, environment, overrides, the rendered command.

Functions that check add complete lines to `problems` instead of stopping at the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.errors import UsageError
from catalog.models import Task
from catalog.normal_form import merge
from catalog.rendering import Unrenderable, render
from launcher.configuration.model import ApiEndpoint, Evaluation, RunConfig
from launcher.configuration.model import Task as TaskConfig
from launcher.jobs import Deployment, Endpoint
from launcher.plans import deployments
from launcher.plans.endpoint_names import KEY_NAME, SCHEME, placeholder
from launcher.plans.quoting import Protected
from launcher.profiles import key_binding
from launcher.profiles.key_binding import NO_KEYS, Keys
from launcher.secrets import Environment


def supported_types(task: Task) -> tuple[str, ...]:
    """The endpoint types that a task takes; `vlm` is an old name of `chat`."""
    return tuple("chat" if kind == "vlm" else kind for kind in task.endpoint_types)


def choose_endpoint(
    run: RunConfig,
    api: ApiEndpoint,
    config: TaskConfig,
    task: Task,
    *,
    place: str,
    problems: list[str],
    keys: Keys = NO_KEYS,
) -> Endpoint:
    """The endpoint for one task: what was asked for, else the first type that the task takes, with the key
    that the profile binds to its URL."""
    supported = supported_types(task)
    asked = _hosted(run, api, problems)
    wanted = config.endpoint_type or (None if api.type == "lepton" else api.type)
    wanted = "chat" if wanted == "vlm" else wanted
    if wanted and supported and wanted not in supported:
        problems.append(
            f"{place}: endpoint type {wanted!r} is not supported; the task takes {', '.join(supported)}"
        )
    kind = wanted or (supported[0] if supported else "chat")
    if api.capabilities is not None:
        missing = [each for each in task.capabilities if each not in api.capabilities]
        if missing:
            needs = ", ".join(missing)
            problems.append(f"{place}: needs {needs}, which target.api_endpoint.capabilities doesn't list")
    served = run.deployment.type != "none"
    url = api.url
    if url is None and asked:
        url = placeholder(asked)
        if run.deployment.endpoint_path and asked == SCHEME:
            url = url.removesuffix("/v1") + run.deployment.endpoint_path
    elif url is None and served:
        url = deployments.url(run.deployment, kind)
    model = api.model_id or (deployments.model_name(run.deployment) if served else None)
    if not url:
        problems.append("target.api_endpoint.url is not set (--url), and no deployment serves a model")
    if not model:
        problems.append("target.api_endpoint.model_id is not set (--model-id)")
    whole = whole_url(url, kind, place, problems) if url else ""
    key_name = api.api_key_name or keys.key_for(whole) or (KEY_NAME if asked == SCHEME else None)
    return Endpoint(model_id=model or "", url=whole, type=kind, key_name=key_name, served_by=asked)


def _hosted(run: RunConfig, api: ApiEndpoint, problems: list[str]) -> str | None:
    if api.deployment_name and api.url:
        problems.append("target.api_endpoint: either url or deployment_name says where the model is served")
    if api.type == "lepton" and not api.url and not api.deployment_name:
        problems.append(
            "target.api_endpoint.deployment_name is not set: which endpoint of the workspace is asked?"
        )
    return hosted(run, api)


def hosted(run: RunConfig, api: ApiEndpoint) -> str | None:
    """Who knows the URL when a job is submitted: an endpoint of a Lepton workspace, there or to be made."""
    if api.deployment_name:
        return f"{SCHEME}{api.deployment_name}"
    lepton_serves = run.execution.backend == "lepton" and run.deployment.type != "none"
    return SCHEME if lepton_serves and not api.url else None


def whole_url(url: str, kind: str, place: str, problems: list[str]) -> str:
    """A URL that ends in `/v1` gets the path of the endpoint's type; another type's path is a mistake."""
    path = deployments.PATHS.get(kind)
    if path is None:
        return url
    if not url.startswith(("http://", "https://")):
        problems.append(f"target.api_endpoint.url: expected http:// or https://, got {url!r:.200}")
        return url
    base = url.rstrip("/")
    if base.endswith("/v1"):
        return base.removesuffix("/v1") + path
    known = sorted(set(deployments.PATHS.values()), key=len, reverse=True)
    found = next((each for each in known if base.endswith(each)), None)
    if found not in (None, path):
        problems.append(
            f"{place}: an endpoint of type {kind} does not answer at {url}; "
            "give the URL up to /v1, and each task gets the path of its type"
        )
    return url


def environment(
    run: RunConfig, config: TaskConfig, key_name: str | None, environ: Mapping[str, str], place: str
) -> Environment:
    """Variables of one job, those of the task over the evaluation's over the execution's."""
    made = Environment(run.execution.secrets_where)
    made.add(run.execution.env_vars, environ, "execution.env_vars")
    made.add(run.evaluation.env_vars, environ, "evaluation.env_vars")
    made.add(config.env_vars, environ, f"{place}.env_vars")
    made.require(run.evaluation.required_env_vars, environ, "evaluation.required_env_vars")
    made.require([key_name] if key_name else (), environ, "target.api_endpoint.api_key_name")
    return made


def astray(
    keys: Keys,
    asked: Endpoint,
    variables: Environment,
    config: TaskConfig,
    *,
    laid: Mapping[str, Any],
    effective: Mapping[str, Any],
    server: Deployment | None,
    place: str,
) -> list[str]:
    """Complete lines: which secrets of one job could reach an address that they are not bound to."""
    # The token of the run's own endpoint is made with it.
    made = KEY_NAME if asked.served_by == SCHEME else None
    secrets = tuple(secret for secret in variables.secrets.values() if secret.source != made)
    lines = key_binding.refusals(
        keys, url=asked.url, key_name=asked.key_name, secrets=secrets, config=effective, place=place
    )
    if server is not None:
        lines += key_binding.refusals(
            keys, url="", key_name=None, secrets=server.secrets, config={}, place="deployment.env_vars"
        )
    if not keys.required or not any(keys.bound(secret.source) for secret in secrets):
        return lines
    if config.container is not None:
        lines.append(f"{place}.container: only the catalog's image may hold a bound key")
    lines += [f"{place}: {line}" for line in key_binding.strangers(keys, laid, variables.literal)]
    return lines


def overrides(
    evaluation: Evaluation, config: TaskConfig, api: ApiEndpoint, asked: Endpoint, task: Task
) -> dict[str, Any]:
    """From weak to strong: the evaluation's, the task's, then the endpoint's own fields."""
    laid: dict[str, Any] = {}
    for part in (
        evaluation.nemo_evaluator_config,
        nested(evaluation.overrides),
        config.nemo_evaluator_config,
        {"config": {"params": config.params}} if config.params else {},
        nested(config.overrides),
    ):
        laid = merge(laid, part)
    fields: dict[str, Any] = {"model_id": asked.model_id, "url": asked.url, "api_key_name": asked.key_name}
    supported = supported_types(task)
    # The first supported type is what everybody gets who asks for nothing: it makes no other question.
    if not supported or asked.type != supported[0]:
        fields["type"] = asked.type
    if api.stream is not None:
        fields["stream"] = api.stream
    if api.adapter_config is not None:
        fields["adapter_config"] = api.adapter_config
    return merge(laid, {"target": {"api_endpoint": fields}})


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """`{"config.params.temperature": 0}` as nested mappings; nested ones stay."""
    whole: dict[str, Any] = {}
    for path, value in dotted.items():
        part: Any = value
        for key in reversed(path.split(".")):
            part = {key: part}
        whole = merge(whole, part)
    return whole


def command(
    task: Task, laid: Mapping[str, Any], endpoint_type: str, results: str
) -> tuple[str, dict[str, Any]]:
    """The rendered command, and the effective task as a run configuration for the container contract."""
    raw = merge(
        laid, {"config": {"output_dir": results}, "target": {"api_endpoint": {"type": endpoint_type}}}
    )
    protected = Protected()
    try:
        rendered = protected.reveal(render(task, protected.protect(raw)))
    except Unrenderable as error:
        raise UsageError(f"its command can't be rendered: {error.message}", hint=error.hint) from None
    whole = merge(task.defaults, raw)
    config = {key: whole["config"][key] for key in ("type", "output_dir", "params") if key in whole["config"]}
    return rendered, {"config": config, "target": {"api_endpoint": whole["target"]["api_endpoint"]}}
