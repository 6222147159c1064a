"""`[wandb]` of env.toml: what jobs and exports are told about Weights & Biases. The key by name only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.errors import InvalidInput
from catalog.nearest import did_you_mean
from launcher.configuration.compose import Layer
from launcher.secrets import NAME

# As wandb's own documentation calls them.
VARIABLES: Mapping[str, str] = {
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
    "tags": "WANDB_TAGS",
    "mode": "WANDB_MODE",
    "base_url": "WANDB_BASE_URL",
}
KEY = "WANDB_API_KEY"
KINDS = ("recipes", "tasks")
KNOWN = (*VARIABLES, "api_key_name", "inject")


def layer(settings: Mapping[str, Any], kind: str, place: str) -> Layer | None:
    """Variables for every job, where `inject` names `kind` (`recipes` or `tasks`; recipes alone if missing).

    Raises InvalidInput with all mistakes of the section.
    """
    made, problems = variables(settings)
    inject = settings.get("inject", ["recipes"])
    if not isinstance(inject, list) or not set(map(str, inject)) <= set(KINDS):
        problems.append(f"inject: expected a list of {' and '.join(KINDS)}, got {inject!r:.80}")
    if problems:
        raise InvalidInput("[wandb] has mistakes:", problems, place=place)
    if not made or kind not in inject:
        return None
    return Layer(f"[wandb] ({place})", {"execution": {"env_vars": made}})


def variables(settings: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """In the form of `env_vars`, and what is wrong."""
    made: dict[str, str] = {}
    problems: list[str] = []
    for key, value in settings.items():
        if key not in KNOWN:
            problems.append(f"{key}: unknown key{did_you_mean(key, KNOWN)}")
        elif key == "api_key_name":
            if isinstance(value, str) and NAME.fullmatch(value):
                made[KEY] = f"host:{value}"
            else:
                # Not repeated in the message: it may be the key itself.
                problems.append("api_key_name: expected the name of the variable that holds the key")
        elif key != "inject":
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            made[VARIABLES[key]] = f"lit:{text}"
    return made, problems
