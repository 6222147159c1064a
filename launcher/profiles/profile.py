"""Profiles of env.toml: named environments that runs, recipes and the action select with `--profile`.

    [base]
    executor = "slurm"
    account = "my-account"

    [prod]
    extends = "base"
    nodes = 8
    env = { HF_HOME = "/lustre/hf", HF_TOKEN = "host:HF_TOKEN?" }
    mounts = ["/lustre:/lustre"]

    [prod.keys]
    "https://api.example/v1" = "API_KEY"

`load(name)` gives the effective profile; its `layer` is a part of a run configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound, UsageError
from catalog.nearest import did_you_mean
from catalog.normal_form import merge
from launcher.backends.protocol import MODULES
from launcher.configuration.compose import Composed, Layer
from launcher.configuration.model import validate
from launcher.profiles import env_file
from launcher.profiles.env_file import EnvFile
from launcher.profiles.key_binding import VARIABLE, Address, Binding, Keys, address
from launcher.profiles.tables import SECTIONS, KeyPath, Reader, fields_of, inheritance, selected
from launcher.secrets import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One profile with everything that it inherits.

    `layer` is its part of a run configuration; `layer.places` says where each setting stands. `image` is for
    recipes (tasks have the catalog's). `keys` leads from URLs to names of keys, `secrets` are names that jobs
    may have besides. `chain` are the profiles it is made of, its own name first.
    """

    name: str
    file: EnvFile
    chain: tuple[str, ...]
    layer: Layer
    image: str | None = None
    description: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    wandb: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[KeyPath, str] = field(default_factory=dict)

    @property
    def execution(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.layer.data.get("execution", {})
        return found

    @property
    def backend(self) -> str | None:
        """The backend it selects, as written; None where it leaves that open."""
        return self.execution.get("type")


def load(name: str, environ: Mapping[str, str] = os.environ, *, start: Path | None = None) -> Profile:
    """The profile `name` of the env.toml that holds here.

    Raises NotFound where there is no env.toml or no such profile, InvalidInput with all mistakes of it.
    """
    file = env_file.load(environ, start)
    if file is None:
        raise NotFound(f"there is no env.toml, so no profile {name!r}", hint=env_file.WHERE)
    return of_file(file, name)


def of_file(file: EnvFile, name: str) -> Profile:
    """As `load`, from a file that has been read."""
    chain = inheritance(file, name)
    key, backend = selected(file, chain)
    reader = Reader(file, fields_of(backend), within=key != "executor" and "ray" in backend.lower())
    data: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    for each in reversed(chain):
        table, stands = reader.table(each)
        data = merge(data, table)
        # A list replaces a list, a value a value: what the child says is where it stands.
        places |= stands
    if reader.problems:
        raise InvalidInput(f"profile {name!r} has mistakes:", reader.problems)
    title = f"profile {name} ({file.shown})"
    parts = {section: data[section] for section in SECTIONS if section in data}
    return Profile(
        name=name,
        file=file,
        chain=chain,
        layer=Layer(title, parts, places),
        image=data.get("image"),
        description=data.get("description", ""),
        keys=data.get("keys", {}),
        secrets=tuple(data.get("secrets", ())),
        wandb=merge(dict(file.section("wandb")), data.get("wandb", {})),
        places=places,
    )


def problems(profile: Profile) -> list[str]:
    """What is wrong with the settings of a profile that selects a backend, as far as it can be told before
    there is a run; complete lines."""
    if profile.backend is None or "${" in repr(profile.layer.data):
        return []
    try:
        backend = validate(Composed(dict(profile.layer.data), (profile.layer,))).execution.backend
        keys(profile)
    except InvalidInput as error:
        return list(error.problems)
    if backend.strip().lower() not in MODULES:
        near = did_you_mean(backend, MODULES)
        place = profile.layer.place(("execution", "type"))
        return [f"{place}: no backend {backend!r}{near}; there are {', '.join(sorted(MODULES))}"]
    return []


def keys(profile: Profile | None, environ: Mapping[str, str] = os.environ) -> Keys:
    """The bindings of keys that hold here; every profile of env.toml counts, selected or not.

    Raises InvalidInput for a binding that can't be meant, whoever's it is: what can't be read protects
    nothing.
    """
    file = profile.file if profile else env_file.load(environ)
    required = environ.get(VARIABLE, "") not in ("", "0")
    if file is None:
        return Keys(required=required)
    problems: list[str] = []
    by_profile = {name: _bindings(file, name, problems) for name in file.profiles}
    if problems:
        raise InvalidInput("keys are not bound as they should be:", problems)
    own: dict[Address, Binding] = {}
    for name in reversed(profile.chain if profile else ()):
        own |= {binding.address: binding for binding in by_profile[name]}
    wandb = (profile.wandb if profile else file.section("wandb")).get("api_key_name")
    beside = (*(profile.secrets if profile else ()), *([wandb] if isinstance(wandb, str) else []))
    everybody = tuple(binding for bindings in by_profile.values() for binding in bindings)
    return Keys(own=tuple(own.values()), others=everybody, beside=frozenset(beside), required=required)


def _bindings(file: EnvFile, name: str, problems: list[str]) -> list[Binding]:
    table = file.tables[name].get("keys", {})
    place = file.place((name, "keys"))
    if not isinstance(table, dict):
        problems.append(f"{place}: {name}.keys: expected a table of URLs and names of keys")
        return []
    made: dict[Address, Binding] = {}
    for url, key in table.items():
        where = f"{file.place((name, 'keys', url))}: {name}.keys.{url!r:.200}"
        if not isinstance(key, str) or not NAME.fullmatch(key):
            # Not repeated in the message: it may be the key itself.
            problems.append(f"{where}: expected the name of the variable that holds the key")
            continue
        try:
            found = address(url)
        except UsageError as error:
            problems.append(f"{where}: {error.message}")
            continue
        if "?" in url:
            problems.append(f"{where}: a key is bound to a URL without a query")
        elif found in made:
            problems.append(f"{where}: the same as {made[found].url!r} at {made[found].place}")
        else:
            made[found] = Binding(
                url=url, address=found, key=key, profile=name, place=file.place((name, "keys", url))
            )
    return list(made.values())
