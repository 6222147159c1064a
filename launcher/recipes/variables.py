"""The variables and keys of a recipe's job, and whether a secret among them could go astray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.normal_form import merge
from launcher.jobs import Deployment
from launcher.profiles import key_binding
from launcher.profiles.key_binding import Keys
from launcher.recipes.compiling import Compiled
from launcher.recipes.runspec import Runspec
from launcher.secrets import SECRET_NAME, Environment


def environment(spec: Runspec, compiled: Compiled, environ: Mapping[str, str], keys: Keys) -> Environment:
    """With `problems`, complete lines."""
    execution = compiled.how.execution
    made = Environment(execution.secrets_where)
    literal, bare = {}, []
    for name, value in spec.env.items():
        if value.startswith(("host:", "runtime:", "lit:")):
            literal[name] = value
        elif SECRET_NAME.search(name):
            # Not repeated in the message: it may be the secret itself.
            ways = f"host:{name} or runtime:{name}"
            bare.append(f"tool.runspec.env.{name}: a secret stands here by name only: {ways}")
        else:
            literal[name] = f"lit:{value}"
    made.problems += bare
    made.add(literal, environ, "tool.runspec.env")
    made.add(execution.env_vars, environ, "execution.env_vars")
    key = _endpoint(compiled, keys)[1]
    made.require([key] if key else (), environ, "target.api_endpoint.api_key_name")
    return made


def config(compiled: Compiled, keys: Keys) -> dict[str, Any]:
    """What the recipe is told, with the name of the key that is bound to its endpoint."""
    name = _endpoint(compiled, keys)[1]
    if name is None:
        return dict(compiled.config)
    return merge(compiled.config, {"target": {"api_endpoint": {"api_key_name": name}}})


def astray(
    spec: Runspec, compiled: Compiled, keys: Keys, variables: Environment, server: Deployment | None
) -> list[str]:
    """Complete lines: which secrets could reach an address that they are not bound to."""
    url, name = _endpoint(compiled, keys)
    told, secrets = config(compiled, keys), tuple(variables.secrets.values())
    lines = key_binding.refusals(keys, url=url, key_name=name, secrets=secrets, config=told, place=spec.title)
    if server is not None:
        lines += key_binding.refusals(
            keys,
            url="",
            key_name=None,
            secrets=server.secrets,
            config={},
            place="deployment.env_vars",
        )
    if keys.required and any(keys.bound(secret.source) for secret in secrets):
        strangers = key_binding.strangers(keys, told, variables.literal)
        lines += [f"{spec.title}: {line}" for line in strangers]
    return lines


def _endpoint(compiled: Compiled, keys: Keys) -> tuple[str, str | None]:
    """URL of `target.api_endpoint`, where the configuration has one, and the name of its key."""
    target = compiled.config.get("target")
    found = target.get("api_endpoint") if isinstance(target, Mapping) else None
    api: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    url = str(api.get("url") or "")
    name = api.get("api_key_name") or keys.key_for(url)
    return url, name if isinstance(name, str) else None
