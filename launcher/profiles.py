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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from catalog.errors import InvalidInput, NotFound, UsageError
from catalog.nearest import did_you_mean
from catalog.normal_form import merge
from launcher import env_file
from launcher.backends.protocol import MODULES
from launcher.configuration.compose import Composed, Layer
from launcher.configuration.model import model_for, validate
from launcher.env_file import SPECIAL, EnvFile
from launcher.key_binding import VARIABLE, Address, Binding, Keys, address
from launcher.secrets import NAME, SECRET_NAME

# What others call our settings. A backend's own setting of that name comes before the alias.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "executor": "type",
        "backend": "type",
        "execution_backend": "type",
        "remote_job_dir": "output_dir",
        "container_mounts": "mounts",
        "gpus_per_node": "gpus",
        "time": "walltime",
        "mem": "memory",
        "host": "hostname",
        "identity": "ssh_key_path",
    }
)
# The first of these that a profile says is its backend; beside Ray, `executor` is what Ray is started in.
_BACKEND = ("type", "backend", "execution_backend", "executor")
# Parts of a run configuration, which a profile may hold as they are.
SECTIONS = ("execution", "deployment", "target", "evaluation")
# A profile's own keys, beside sections and settings of `execution`.
OWN = ("extends", "description", "image", "env", "keys", "secrets", "wandb")
Path_ = tuple[str, ...]


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
    places: Mapping[Path_, str] = field(default_factory=dict)

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
        raise NotFound(
            f"there is no env.toml, so no profile {name!r}",
            hint=env_file.WHERE,
        )
    return of_file(file, name)


def of_file(file: EnvFile, name: str) -> Profile:
    """As `load`, from a file that has been read."""
    chain = _chain(file, name)
    key, backend = _selected(file, chain)
    reader = _Reader(file, _fields(backend), within=key != "executor" and "ray" in backend.lower())
    data: dict[str, Any] = {}
    places: dict[Path_, str] = {}
    for each in reversed(chain):
        table, stands = reader.table(each)
        data = merge(data, table)
        # A list replaces a list, a value a value: what the child says is where it stands.
        places |= stands
    if reader.problems:
        raise InvalidInput(f"profile {name!r} has mistakes:", reader.problems)
    title = f"profile {name} ({file.path})"
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


def _chain(file: EnvFile, name: str) -> tuple[str, ...]:
    """The profile and what it inherits from, nearest first."""
    if name in SPECIAL:
        raise UsageError(
            f"[{name}] is no profile: {', '.join(SPECIAL)} are special sections",
            place=file.place((name,)),
            hint=_available(file),
        )
    if name not in file.tables:
        near = did_you_mean(name, file.profiles)
        raise NotFound(f"no profile {name!r}{near}", place=str(file.path), hint=_available(file))
    chain = [name]
    while (parent := file.tables[chain[-1]].get("extends")) is not None:
        place = file.place((chain[-1], "extends"))
        if not isinstance(parent, str):
            raise UsageError(
                f"{chain[-1]}.extends: expected the name of one profile, got {parent!r:.80}", place=place
            )
        if parent in chain:
            names = " → ".join((*chain[chain.index(parent) :], parent))
            raise UsageError(f"{chain[-1]}.extends: profiles inherit in a circle: {names}", place=place)
        if parent in SPECIAL or parent not in file.tables:
            near = did_you_mean(parent, file.profiles)
            what = f"[{parent}] is a special section" if parent in SPECIAL else f"no profile {parent!r}{near}"
            raise UsageError(f"{chain[-1]}.extends: {what}", place=place, hint=_available(file))
        chain.append(parent)
    return tuple(chain)


def _available(file: EnvFile) -> str:
    return f"there are: {', '.join(file.profiles) or 'none'}"


def _holders(file: EnvFile, name: str) -> tuple[Mapping[str, Any], ...]:
    """Where a profile can have settings of `execution`."""
    nested = file.tables[name].get("execution")
    return (file.tables[name], nested if isinstance(nested, dict) else {})


def _selected(file: EnvFile, chain: Sequence[str]) -> tuple[str, str]:
    """The key that says the backend, and the backend, of the nearest profile that has any; else empty."""
    for name in chain:
        for holder in _holders(file, name):
            for key in _BACKEND:
                if isinstance(holder.get(key), str):
                    return key, holder[key]
    return "", ""


def _fields(backend: str) -> frozenset[str]:
    """The backend's settings."""
    model = model_for(backend).model_fields["execution"].annotation
    return frozenset(getattr(model, "model_fields", {}))


@dataclass(slots=True)
class _Reader:
    """One table after the other into one spelling; collects what is wrong. `within`: `executor` is what
    the backend is started in."""

    file: EnvFile
    fields: frozenset[str]
    within: bool = False
    problems: list[str] = field(default_factory=list)

    def table(self, name: str) -> tuple[dict[str, Any], dict[Path_, str]]:
        """The table in our spelling, and where each of its values stands."""
        made: dict[str, Any] = {}
        places: dict[Path_, str] = {}
        for at, target, value in self._settings(name):
            if target in places:
                self._wrong(at, f"stands at {places[target]} already, under another name")
                continue
            for leaf, plain in _leaves(target, value):
                part = made
                for key in leaf[:-1]:
                    part = part.setdefault(key, {})
                part[leaf[-1]] = plain
                places[leaf] = self.file.place((*at, *leaf[len(target) :]))
            places[target] = self.file.place(at)
        return made, places

    def _settings(self, name: str) -> Iterator[tuple[Path_, Path_, Any]]:
        """(where it stands, what it sets, the value) of each key."""
        for key, value in self.file.tables[name].items():
            at = (name, key)
            if key == "extends":
                continue
            if key in ("env", "env_vars"):
                yield at, ("execution", "env_vars"), self._variables(at, value, literal=key == "env")
            elif key in ("keys", "wandb", *SECTIONS):
                if not isinstance(value, dict):
                    self._wrong(at, f"expected a table, got {value!r:.80}")
                elif key == "execution":
                    for setting, inner in value.items():
                        yield (*at, setting), ("execution", self._spelt(setting, inner)), inner
                else:
                    yield at, (key,), value
            elif key in ("description", "image", "container", "container_image"):
                if not isinstance(value, str):
                    self._wrong(at, f"expected text, got {value!r:.80}")
                yield at, ("description" if key == "description" else "image",), str(value)
            elif key == "secrets":
                if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                    self._wrong(at, f"expected a list of names, got {value!r:.80}")
                else:
                    yield at, ("secrets",), value
            else:
                yield at, ("execution", self._spelt(key, value)), value

    def _spelt(self, key: str, value: Any) -> str:
        kept = key in self.fields or (key == "executor" and self.within)
        # A backend can stand there with its settings, too.
        return key if kept or (key in _BACKEND and not isinstance(value, str)) else ALIASES.get(key, key)

    def _variables(self, at: Path_, value: Any, *, literal: bool) -> dict[str, str]:
        """In `env` a plain text is the value; in `env_vars` it is a variable's name, as in configurations."""
        if not isinstance(value, dict):
            self._wrong(at, f"expected a table of variables, got {value!r:.80}")
            return {}
        made: dict[str, str] = {}
        for name, given in value.items():
            text = str(given).lower() if isinstance(given, bool) else str(given)
            if isinstance(given, dict | list):
                self._wrong((*at, name), "expected text")
            elif not literal or text.startswith(("host:", "runtime:", "lit:")):
                made[name] = text
            elif SECRET_NAME.search(name):
                # Not repeated in the message: it may be the secret itself.
                self._wrong((*at, name), f"a secret stands here by name only: host:{name} or runtime:{name}")
            else:
                made[name] = f"lit:{text}"
        return made

    def _wrong(self, at: Path_, message: str) -> None:
        self.problems.append(f"{self.file.place(at)}: {'.'.join(at)}: {message}")


def _leaves(path: Path_, value: Any) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    else:
        yield path, value
