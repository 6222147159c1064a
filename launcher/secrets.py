"""Environment of a job: literal values, and secrets by name.

In a configuration a value is `host:NAME` (the launcher's variable), `runtime:NAME` (a variable of the machine
the job runs on), `lit:VALUE`, or a bare NAME, which is `host:NAME`. A trailing `?` makes one optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from catalog.errors import InvalidInput, Refused
from launcher.jobs import RunPlan, SecretName

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Names whose values are secrets, as people name them.
SECRET_NAME = re.compile(r"(?:(?:^|_)KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
REDACTED = "[redacted]"


@dataclass(slots=True)
class Environment:
    """What a task's `env_vars` come to. `problems` are complete lines; `where` is the side that a bare name
    is read on."""

    where: str = "host"
    literal: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, SecretName] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, variables: Mapping[str, str], environ: Mapping[str, str], place: str) -> None:
        """Later calls win. A `host` variable that is unset is a problem, unless it is optional."""
        for name, value in variables.items():
            where = f"{place}.{name}"
            if not NAME.fullmatch(name):
                self.problems.append(f"{where}: not a variable's name")
                continue
            self.literal.pop(name, None)
            self.secrets.pop(name, None)
            kind, colon, rest = value.partition(":")
            if colon and kind == "lit":
                self.literal[name] = rest
                continue
            if not (colon and kind in ("host", "runtime")):
                kind, rest = self.where, value
            source, optional = rest.removesuffix("?"), rest.endswith("?")
            if not NAME.fullmatch(source):
                # Not repeated in the message: what stands here may be the secret itself.
                self.problems.append(
                    f"{where}: expected host:NAME, runtime:NAME, lit:VALUE or a variable's name"
                )
            elif kind == "host" and source not in environ:
                if not optional:
                    self.problems.append(
                        f"{where}: the variable {source} is not set; export it, or write {source}?"
                    )
            else:
                self.secrets[name] = SecretName(name=name, source=source, where=kind)

    def require(self, names: Iterable[str], environ: Mapping[str, str], place: str) -> None:
        """What is given already is enough, whatever it is called where it comes from."""
        for name in names:
            if name not in self.literal and name not in self.secrets:
                self.add({name: f"{self.where}:{name}"}, environ, place)


def resolve(names: Iterable[SecretName], environ: Mapping[str, str]) -> dict[str, str]:
    """Values of the `host` secrets by their sources, at the moment of submitting: a job and the server beside
    it may call two of them by one name. Raises InvalidInput naming those unset."""
    wanted = [secret for secret in names if secret.where == "host"]
    missing = sorted({secret.source for secret in wanted if secret.source not in environ})
    if missing:
        raise InvalidInput(
            "variables that the run needs are not set:", missing, hint="export them and try again"
        )
    return {secret.source: environ[secret.source] for secret in wanted}


def named(secrets: Iterable[SecretName], values: Mapping[str, str]) -> dict[str, str]:
    """Of `values`, as `resolve` gives them, those of these `secrets` by their names."""
    return {s.name: values[s.source] for s in secrets if s.where == "host" and s.source in values}


def of_this_machine(secrets: Iterable[SecretName], environ: Mapping[str, str]) -> dict[str, str]:
    """By their names those that this machine has, where jobs run on it. Raises Refused for one that isn't
    set."""
    wanted = [secret for secret in secrets if secret.where == "runtime"]
    for secret in wanted:
        if secret.source not in environ:
            raise Refused(
                f"the variable {secret.source} is not set on this machine", hint="export it and try again"
            )
    return {secret.name: environ[secret.source] for secret in wanted}


def values_of(plan: RunPlan, environ: Mapping[str, str]) -> list[str]:
    """Every secret value that this process knows of the run: what printing must not let through."""
    names = {
        secret.source
        for job in plan.jobs
        for secret in (*job.secrets, *(job.deployment.secrets if job.deployment else ()))
    }
    return [environ[name] for name in names if environ.get(name)]


def redact(text: str, values: Iterable[str]) -> str:
    """`text` without any of `values` (the longest first, so that no part of one is left over)."""
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, REDACTED)
    return text
