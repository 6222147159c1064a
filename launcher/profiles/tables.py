"""Tables of env.toml as they are written: what inherits from what, and every setting in one spelling."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from catalog.errors import NotFound, UsageError
from catalog.nearest import did_you_mean
from launcher.configuration.model import model_for
from launcher.profiles.env_file import SPECIAL, EnvFile
from launcher.secrets import SECRET_NAME

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
KeyPath = tuple[str, ...]


def inheritance(file: EnvFile, name: str) -> tuple[str, ...]:
    """The profile and what it inherits from, nearest first."""
    if name in SPECIAL:
        raise UsageError(
            f"[{name}] is no profile: {', '.join(SPECIAL)} are special sections",
            place=file.place((name,)),
            hint=_available(file),
        )
    if name not in file.tables:
        near = did_you_mean(name, file.profiles)
        raise NotFound(f"no profile {name!r}{near}", place=file.shown, hint=_available(file))
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


def selected(file: EnvFile, chain: Sequence[str]) -> tuple[str, str]:
    """The key that says the backend, and the backend, of the nearest profile that has any; else empty."""
    for name in chain:
        for holder in _holders(file, name):
            for key in _BACKEND:
                if isinstance(holder.get(key), str):
                    return key, holder[key]
    return "", ""


def fields_of(backend: str) -> frozenset[str]:
    """The backend's settings."""
    model = model_for(backend).model_fields["execution"].annotation
    return frozenset(getattr(model, "model_fields", {}))


@dataclass(slots=True)
class Reader:
    """One table after the other into one spelling; collects what is wrong. `within`: `executor` is what
    the backend is started in."""

    file: EnvFile
    fields: frozenset[str]
    within: bool = False
    problems: list[str] = field(default_factory=list)

    def table(self, name: str) -> tuple[dict[str, Any], dict[KeyPath, str]]:
        """The table in our spelling, and where each of its values stands."""
        made: dict[str, Any] = {}
        places: dict[KeyPath, str] = {}
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

    def _settings(self, name: str) -> Iterator[tuple[KeyPath, KeyPath, Any]]:
        """(where it stands, what it sets, the value) of each key."""
        for key, value in self.file.tables[name].items():
            at = (name, key)
            if key == "extends":
                continue
            if key in ("env", "env_vars"):
                yield at, ("execution", "env_vars"), self._variables(at, value, literal=key == "env")
            elif key in ("keys", "wandb", *SECTIONS):
                if not isinstance(value, dict):
                    self._wrong(at, "expected a table")
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
            elif key not in self.fields and (meant := difflib.get_close_matches(key, OWN, 1, 0.8)):
                self._wrong(at, f"unknown key; did you mean {meant[0]!r}?")
            else:
                yield at, ("execution", self._spelt(key, value)), value

    def _spelt(self, key: str, value: Any) -> str:
        kept = key in self.fields or (key == "executor" and self.within)
        # A backend can stand there with its settings, too.
        return key if kept or (key in _BACKEND and not isinstance(value, str)) else ALIASES.get(key, key)

    def _variables(self, at: KeyPath, value: Any, *, literal: bool) -> dict[str, str]:
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

    def _wrong(self, at: KeyPath, message: str) -> None:
        self.problems.append(f"{self.file.place(at)}: {'.'.join(at)}: {message}")


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    elif isinstance(value, datetime.date | datetime.time):
        # TOML has times of its own; settings are texts, such as a walltime of 04:00:00.
        yield path, value.isoformat()
    else:
        yield path, value
