"""The shapes in which configurations name a Ray cluster, as one: plain settings under `execution`.

A cluster is precreated when it is said to be, or when it has an endpoint or a dashboard; such a one is never
started by us. Without any, Ray is started inside a Slurm job, where the run's executor is Slurm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from catalog.errors import InvalidInput
from launcher.configuration.backend_names import RAY, plain_name

DASHBOARD_PORT = 8265
# From strong to weak.
ENDPOINTS = ("endpoint", "ray_endpoint", "kubernetes.endpoint")
DASHBOARDS = ("dashboard_url", "jobs_api_url", "kubernetes.dashboard_url")
# What these say is known from the backend's name.
_SILENT = ("control_plane", "kubernetes", "precreated_cluster", "with_ray", "executor", "ray_endpoint")
_SLURM = ("slurm",)
_LOCAL = ("none", "local", "docker", "process")


def settle(
    rest: dict[str, Any], own: dict[str, Any], settings: Mapping[str, Any], *, chosen: bool
) -> dict[str, Any]:
    """`rest` is the configuration without `execution`, `own` what stands there, `settings` what stands beside
    the backend's name. Raises InvalidInput with every mistake."""
    problems: list[str] = []
    if "preflight" in settings:
        problems.append("preflight: stands at the top of the configuration, not under the backend")
    merged = _merged(own, settings, problems)
    legacy = bool(rest.pop("with_ray", False)) | bool(merged.get("with_ray", False))
    executor = _executor(rest, merged, problems)
    endpoint, dashboard = _first(merged, ENDPOINTS), _first(merged, DASHBOARDS)
    if endpoint and not dashboard:
        dashboard = derived(str(endpoint), problems)
    # An interpolation gives a text.
    flagged = plain_name(merged.get("precreated_cluster", "")) == "true"
    precreated = flagged or bool(endpoint) or bool(dashboard)
    kept = {key: value for key, value in merged.items() if key not in (*_SILENT, "jobs_api_url")}
    if not precreated and executor in _SLURM:
        kept["type"] = "slurm"
        kept["with_ray"] = True
        _drop_preflight(rest, problems)
    else:
        if not dashboard:
            problems.append(_no_cluster(flagged, legacy and not chosen, executor))
        kept |= {"type": "ray", "precreated_cluster": True}
        kept |= {"dashboard_url": cleaned(str(dashboard), problems)} if dashboard else {}
        kept |= {"endpoint": str(endpoint)} if endpoint else {}
        if "preflight" in rest:
            kept["preflight"] = rest.pop("preflight")
    _environment(rest, kept, problems)
    if problems:
        raise InvalidInput("the configuration has mistakes:", problems)
    return {**rest, "execution": kept}


def has_address(merged: Mapping[str, Any]) -> bool:
    return bool(_first(merged, (*ENDPOINTS, *DASHBOARDS)))


def derived(endpoint: str, problems: list[str]) -> str:
    """`ray://head:10001` → `http://head:8265`; what is HTTP already stays."""
    text = endpoint.strip()
    if text.startswith(("http://", "https://")):
        return text
    if "://" in text and not text.startswith("ray://"):
        problems.append(f"endpoint: expected ray://HOST:PORT, got {endpoint!r:.200}")
        return ""
    host = urlsplit(text if "://" in text else f"ray://{text}").hostname
    if not host or host in ("auto", "local"):
        problems.append(
            f"endpoint: {endpoint!r:.200} names no host, so no dashboard follows from it; set dashboard_url"
        )
        return ""
    return f"http://[{host}]:{DASHBOARD_PORT}" if ":" in host else f"http://{host}:{DASHBOARD_PORT}"


def cleaned(url: str, problems: list[str]) -> str:
    """Without a slash at its end; a bare host gets http://."""
    text = url.strip().rstrip("/")
    whole = text if "://" in text else f"http://{text}"
    parts = urlsplit(whole)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        client = "; an address of Ray Client is given as `endpoint`" if parts.scheme == "ray" else ""
        problems.append(f"dashboard_url: expected http://HOST:{DASHBOARD_PORT}, got {url!r:.200}{client}")
    if parts.username or parts.password:
        problems.append(
            "dashboard_url: a password in an address ends up in plans and logs; use a token (token_name)"
        )
        return ""
    return whole


def _merged(own: Mapping[str, Any], settings: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    both = {key for key in own.keys() & settings.keys() if own[key] != settings[key]}
    problems += [f"{key}: said twice, under execution and beside the backend's name" for key in sorted(both)]
    return {**own, **settings}


def _drop_preflight(rest: dict[str, Any], problems: list[str]) -> None:
    given = rest.pop("preflight", None)
    if given is not None and not (isinstance(given, Mapping) and given.get("enabled") is False):
        problems.append(
            "preflight: looks at a cluster that stands already, and this one is started inside a Slurm job; "
            "take it out, or set preflight.enabled: false"
        )


def _executor(rest: dict[str, Any], merged: Mapping[str, Any], problems: list[str]) -> str | None:
    said = rest.pop("executor", None) or merged.get("executor")
    own = plain_name(merged.get("type", ""))
    name = plain_name(said) if said else own if own and own not in RAY else None
    if name is not None and name not in (*_SLURM, *_LOCAL):
        problems.append(
            f"executor: {said or own!r} can't go with Ray; there are {', '.join((*_LOCAL, *_SLURM))}"
        )
    return name


def _no_cluster(flagged: bool, legacy: bool, executor: str | None) -> str:
    asked = "with_ray" if legacy else "the Ray backend"
    if flagged:
        return (
            "dashboard_url: precreated_cluster is set, but neither endpoint nor dashboard_url says where the "
            f"cluster is (dashboard_url: http://HEAD:{DASHBOARD_PORT})"
        )
    with_executor = f"executor {executor!r} can't start one" if executor else "nothing here can start one"
    return (
        f"dashboard_url: {asked} needs a cluster, and {with_executor}; set dashboard_url "
        f"(http://HEAD:{DASHBOARD_PORT}) or endpoint (ray://HEAD:10001), or `executor: slurm` to have one "
        "started inside a Slurm job"
    )


def _first(data: Mapping[str, Any], paths: tuple[str, ...]) -> Any:
    for path in paths:
        value: Any = data
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value:
            return value
    return None


def _environment(rest: dict[str, Any], kept: dict[str, Any], problems: list[str]) -> None:
    """Lists as cluster configurations have them: `NAME` is forwarded where it is set, `NAME=VALUE` is
    literal; `required_env_vars` must be set."""
    variables: dict[str, str] = {}
    for where, place in (("env_vars", rest), ("execution.env_vars", kept)):
        if place.get("env_vars") is not None:
            variables |= _variables(place["env_vars"], where, problems)
        place.pop("env_vars", None)
    if variables:
        kept["env_vars"] = variables
    required: list[str] = []
    for place in (rest, kept):
        given = place.pop("required_env_vars", None) or []
        if isinstance(given, list) and all(isinstance(each, str) for each in given):
            required += given
        else:
            problems.append("required_env_vars: expected a list of names")
    if required:
        evaluation = dict(rest.get("evaluation") or {})
        evaluation["required_env_vars"] = [*(evaluation.get("required_env_vars") or []), *required]
        rest["evaluation"] = evaluation


def _variables(given: Any, where: str, problems: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if isinstance(given, Mapping):
        for name, value in given.items():
            if value is not None:
                found[str(name)] = value if isinstance(value, str) else f"lit:{_text(value)}"
        return found
    if not isinstance(given, list):
        problems.append(f"{where}: expected a mapping, or a list of NAME and NAME=VALUE")
        return found
    for each in given:
        name, equals, value = str(each).partition("=")
        found[name.strip()] = f"lit:{value}" if equals else f"host:{name.strip()}?"
    return found


def _text(value: object) -> str:
    """As the environment writes what YAML read: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
