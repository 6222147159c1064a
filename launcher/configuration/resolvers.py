"""Interpolations beside OmegaConf's own, for configurations of runs and recipes.

    ${env:NAME[,DEFAULT]}            a variable of the launching machine; not for secrets
    ${run.X.Y}                       what is known of the run; left as it is where unknown
    ${art:NAME[:VERSION][,FIELD]}    an artifact: its path, or its version, digest … (see launcher.artifacts)
    ${auto_mount:git+URL@REF[,DIR]}  the folder in which the job sees a commit of a git repository

OmegaConf keeps resolvers for the whole process, so these are in force only while a configuration is composed.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import EvaldockError, Refused, UsageError
from launcher.code.git_sources import GitMount, read_mount
from launcher.secrets import SECRET_NAME

_RUN = re.compile(r"(?P<escapes>\\*)\$\{run\.(?P<path>[\w.-]+)\}")
_INSTALLING = threading.RLock()
_UNSET = object()

Artifact = Callable[[str, str | None], str | None]


@dataclass(slots=True, kw_only=True)
class Context:
    """What interpolations reach, and what they asked for.

    `secrets` are names of variables that are bound as keys. `run` is the part of `${run.…}` that the
    configuration doesn't say itself. `artifact` gives a field of an artifact by name; where it gives None (or
    is None), `${art:…}` stays as it is. `mounts` gathers what `${auto_mount:…}` named, `folders` the paths
    that `${art:…}` came to.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    secrets: frozenset[str] = frozenset()
    run: Mapping[str, Any] = field(default_factory=dict)
    artifact: Artifact | None = None
    mounts: list[GitMount] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    error: EvaldockError | None = None


@contextmanager
def installed(context: Context) -> Iterator[None]:
    """The resolvers, for the time being; afterwards all is as before, for everybody else in the process."""
    from omegaconf import OmegaConf  # noqa: PLC0415 # heavy, and only composing needs it
    from omegaconf.basecontainer import BaseContainer  # noqa: PLC0415

    # OmegaConf can register and clear resolvers, but not say what one was before.
    table = BaseContainer._resolvers
    ours = {
        "env": _variable(context),
        "oc.env": _variable(context),
        "art": _artifact(context),
        "auto_mount": _auto_mount(context),
    }
    with _INSTALLING:
        before = dict(table)
        try:
            for name, resolver in ours.items():
                OmegaConf.clear_resolver(name)
                # The name until OmegaConf 2.3.
                register = getattr(OmegaConf, "register_resolver", None) or OmegaConf.register_new_resolver
                register(name, _keeping(resolver, context))
            yield
        finally:
            table.clear()
            table.update(before)


def keep_unknown(data: Any, run: Mapping[str, Any]) -> Any:
    """`data` with every `${run.…}` escaped that `run` doesn't know, so that it comes out as it went in."""
    if isinstance(data, Mapping):
        return {key: keep_unknown(value, run) for key, value in data.items()}
    if isinstance(data, list):
        return [keep_unknown(value, run) for value in data]
    if isinstance(data, str) and "${run." in data:
        return _RUN.sub(lambda match: _escaped(match, run), data)
    return data


def _escaped(match: re.Match[str], run: Mapping[str, Any]) -> str:
    inside = match.string[: match.start()].count("${") > match.string[: match.start()].count("}")
    # An odd number of backslashes has escaped it already; inside another interpolation, there is no way
    # to leave it: OmegaConf says that it's unknown.
    if len(match["escapes"]) % 2 or inside or _known(run, match["path"].split(".")):
        return match[0]
    return f"{match['escapes']}\\${{run.{match['path']}}}"


def _known(data: Any, path: Sequence[str]) -> bool:
    """Whether `path` leads anywhere in data that isn't resolved yet."""
    for at, key in enumerate(path):
        if isinstance(data, str) and "${" in data and at:
            return True  # an interpolation stands on the way: nobody knows yet what it comes to
        if isinstance(data, list):
            data = {str(number): value for number, value in enumerate(data)}
        if not isinstance(data, Mapping) or key not in data:
            return False
        data = data[key]
    return True


def _keeping(resolver: Callable[..., Any], context: Context) -> Callable[..., Any]:
    """OmegaConf turns any error of a resolver into one of its own: ours are kept beside it."""

    def call(*arguments: Any) -> Any:
        try:
            return resolver(*arguments)
        except EvaldockError as error:
            context.error = context.error or error
            raise

    return call


def _variable(context: Context) -> Callable[..., Any]:
    def variable(name: Any, default: Any = _UNSET) -> Any:
        text = str(name)
        if text in context.secrets or SECRET_NAME.search(text):
            bound = "it is bound as a key" if text in context.secrets else "its name is a secret's"
            raise Refused(
                f"${{env:{text}}} would write the variable's value down, and {bound}",
                hint=f"name it under env_vars: {text}: host:{text}",
            )
        if text in context.environ:
            return context.environ[text]
        if default is _UNSET:
            raise UsageError(
                f"${{env:{text}}}: the variable is not set",
                hint=f"export it, or write ${{env:{text},DEFAULT}}",
            )
        return default

    return variable


def _artifact(context: Context) -> Callable[..., Any]:
    def artifact(name: Any, part: Any = None) -> Any:
        asked = None if part is None else str(part)
        found = context.artifact(str(name), asked) if context.artifact else None
        if found is None:
            return f"${{art:{name}{'' if part is None else f',{part}'}}}"
        if asked in (None, "path") and found.startswith("/") and found not in context.folders:
            context.folders.append(found)
        return found

    return artifact


def _auto_mount(context: Context) -> Callable[..., Any]:
    def auto_mount(source: Any, target: Any = None) -> str:
        mount = read_mount(str(source), None if target is None else str(target))
        if mount not in context.mounts:
            context.mounts.append(mount)
        return mount.placeholder

    return auto_mount
