"""What overrides may set where keys must be bound: what is run and how much of it, not by what means.

Who may start runs but not change the repository must not have another command, image, folder, network or
machine read a job's secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.errors import Refused
from launcher.profiles.key_binding import VARIABLE

_EXECUTION = frozenset(
    (
        *("mode", "parallel", "retries", "on_failure", "timeout", "deadline", "walltime", "max_walltime"),
        *("cpus", "cpus_per_task", "memory", "memory_limit", "shm_size", "gpus", "gpus_per_node", "nodes"),
        *("partition", "account", "qos", "resource_shape", "num_replicas", "priority", "pending_deadline"),
    )
)
_ENDPOINT = frozenset(("url", "model_id", "api_key_name", "type", "stream", "capabilities"))
_TASK = frozenset(
    ("name", "params", "overrides", "nemo_evaluator_config", "endpoint_type", "timeout", "depends_on")
)
_EVALUATION = frozenset(("overrides", "nemo_evaluator_config"))
# Parts of a task's own configuration that are no question to a model.
_MEANS = frozenset(("adapter_config", "command", "output_dir"))
# Other words for where things run; every other name at the top is a recipe's own.
_ELSEWHERE = frozenset(
    (
        *("deployment", "backend", "execution_backend", "executor", "with_ray", "kubernetes", "ray"),
        *("control_plane", "precreated_cluster", "ray_endpoint", "preflight", "defaults"),
    )
)


def check_overrides(overrides: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """`overrides` are their texts and what they set. Raises Refused, naming every one that sets more."""
    wrong = [text for text, data in overrides if not all(map(_harmless, _paths(data)))]
    if wrong:
        listed = "".join(f"\n  - {text.partition('=')[0]!r:.200}" for text in wrong)
        raise Refused(
            f"with {VARIABLE}, overrides say what is run, not by what means:{listed}",
            hint="put it into the configuration or the profile",
        )


def _harmless(path: tuple[str, ...]) -> bool:
    head, *rest = (part for part in path if not part.isdecimal())
    match head:
        case "execution":
            return bool(rest) and rest[0] in _EXECUTION
        case "target" | "targets":
            return rest[:1] == ["api_endpoint"] and len(rest) > 1 and rest[1] in _ENDPOINT
        case "evaluation":
            known, rest = (_TASK, rest[1:]) if rest[:1] == ["tasks"] else (_EVALUATION, rest)
            # A task can be written as its name alone.
            named = known is _TASK and not rest
            return named or (bool(rest) and rest[0] in known and not _MEANS & set(rest))
        case "run":
            return rest[:1] != ["env"]
        case _:
            return head not in _ELSEWHERE


def _paths(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path to every value; keys with dots count as several."""
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from _paths(value, (*path, *str(key).split(".")))
    elif isinstance(data, list) and data:
        for number, value in enumerate(data):
            yield from _paths(value, (*path, str(number)))
    elif path:
        yield path
