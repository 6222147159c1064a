"""Other ways to say which backend a run uses, before a configuration is checked: `backend` and
`execution_backend`, at the top or under `execution`, a name or a mapping with one.

What only one backend means is that backend's module to read, which isn't imported for any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from catalog.errors import InvalidInput
from catalog.nearest import did_you_mean
from launcher.backends.protocol import MODULES
from launcher.configuration.backend_names import NO_CHOICE, RAY, plain_name
from launcher.configuration.compose import Composed

KEYS = ("backend", "execution_backend")


def settle(composed: Composed) -> Composed:
    """The configuration with one `execution.type`, and a backend's settings under `execution`. Raises
    InvalidInput with every mistake."""
    data = composed.data
    execution = data.get("execution") or {}
    if not isinstance(execution, Mapping) or not _concerned(data, execution):
        return composed
    problems: list[str] = []
    name, settings = _chosen(data, execution, problems)
    if problems:
        raise InvalidInput("the configuration has mistakes:", problems)
    own = {key: value for key, value in execution.items() if key not in KEYS}
    rest = {key: value for key, value in data.items() if key not in (*KEYS, "execution")}
    own_type = plain_name(own.get("type", ""))
    overruled = name is not None and _overruled(composed) and not _same(name, own_type)
    if overruled and not _executes_ray(str(name), own, own_type, settings):
        name, settings = None, {}
        for place in (rest, own):
            place.pop("with_ray", None)
        if own_type not in RAY:
            for key in ("preflight", "executor"):
                rest.pop(key, None)
    if name is not None and name not in RAY:
        own["type"] = own_type = name
    if name in RAY or own_type in RAY or rest.get("with_ray") or own.get("with_ray"):
        from launcher.configuration import ray_shapes  # noqa: PLC0415 # only for Ray

        return replace(composed, data=ray_shapes.settle(rest, own, settings, chosen=name in RAY))
    for place in (rest, own):
        place.pop("with_ray", None)
    if name is not None:
        own |= settings
    return replace(composed, data={**rest, **({"execution": own} if own else {})})


def _concerned(data: Mapping[str, Any], execution: Mapping[str, Any]) -> bool:
    keys = (*KEYS, "with_ray")
    return (
        any(key in place for place in (data, execution) for key in keys)
        or plain_name(execution.get("type", "")) in RAY
    )


def _overruled(composed: Composed) -> bool:
    """Whether a stronger layer, such as --backend or a profile, says by `execution.type` where to run."""
    said = [composed.strength((*prefix, key)) for prefix in ((), ("execution",)) for key in KEYS]
    return composed.strength(("execution", "type")) > max(said)


def _same(name: str, other: str) -> bool:
    """Whether the stronger layer says again what the weaker one does: that one's settings hold then."""
    return name == other or MODULES.get(name, name) == MODULES.get("ray" if other in RAY else other)


def _executes_ray(name: str, own: Mapping[str, Any], own_type: str, settings: Mapping[str, Any]) -> bool:
    """`slurm` beside a Ray that is nowhere yet doesn't overrule it: it starts it."""
    if name not in RAY or own_type != "slurm":
        return False
    from launcher.configuration import ray_shapes  # noqa: PLC0415 # only for Ray

    return not ray_shapes.has_address({**own, **settings})


def _chosen(
    data: Mapping[str, Any], execution: Mapping[str, Any], problems: list[str]
) -> tuple[str | None, dict[str, Any]]:
    """The backend's plain name (None where none is chosen) and what is said beside it."""
    found: dict[str, str] = {}
    settings: dict[str, Any] = {}
    for prefix, place in (("", data), ("execution.", execution)):
        for key in KEYS:
            if place.get(key) is None:
                continue
            where, value = f"{prefix}{key}", place[key]
            name = value
            if isinstance(value, Mapping):
                settings |= {k: v for k, v in value.items() if k not in ("name", "type")}
                name = value.get("name", value.get("type"))
            if name is None or isinstance(name, list | Mapping):
                problems.append(f"{where}.name: says which backend it is; there are {_known()}")
            elif plain_name(name) not in (*MODULES, *RAY, *NO_CHOICE):
                near = did_you_mean(plain_name(name), (*MODULES, *RAY))
                problems.append(f"{where}: no backend {name!r}{near}; there are {_known()}")
            else:
                found[where] = plain_name(name)
    names = {"ray" if name in RAY else name for name in found.values()}
    if len(names) > 1:
        said = ", ".join(f"{where} says {name!r}" for where, name in found.items())
        problems.append(f"one backend at a time: {said}")
    (name,) = names if len(names) == 1 else (None,)
    return (None if name in NO_CHOICE else name), settings


def _known() -> str:
    return ", ".join(sorted({*MODULES, *RAY, *NO_CHOICE}))
