"""Looks at everything that a run on a backend needs, and says what is missing and how to mend it."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import EvaldockError, InvalidInput, UsageError
from catalog.nearest import did_you_mean
from launcher.checks.answers import Check, Subject, fail, failed, folder, ok, warn

if TYPE_CHECKING:
    from launcher.configuration.model import ApiEndpoint, RunConfig

CHECKS: Mapping[str, str] = {
    "process": "launcher.checks.process",
    "docker": "launcher.checks.docker",
    "slurm": "launcher.checks.slurm",
    "ray": "launcher.checks.ray",
    "lepton": "launcher.checks.lepton",
}
DEFAULT_OUTPUT = Path("evaldock-runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    profile: str | None = None
    backend: str | None = None
    file: Path | None = None
    overrides: Sequence[str] = ()
    catalog: Path | None = None


def examine(asked: Asked) -> Iterator[tuple[str, Check]]:
    """Checks with the part that each belongs to, as they are made. Raises UsageError for a backend that
    nobody knows."""
    if asked.backend is not None and asked.backend not in (*CHECKS, "local"):
        near = did_you_mean(asked.backend, CHECKS)
        raise UsageError(f"no backend {asked.backend!r}{near}", hint=f"there are {', '.join(CHECKS)}")
    for check in _machine():
        yield "this machine", check
    yield "catalog", _catalog(asked.catalog)
    read = _configuration(asked)
    for check in read.checks:
        yield "configuration", check
    if read.backend is not None:
        for check in _backend(read.backend, read):
            yield read.backend, check
    if read.config is not None:
        for check in _model(read.config):
            yield "model", check


@dataclass(slots=True)
class _Read:
    """What profile, file and overrides come to. `config` is None where they have mistakes; `raw` is what
    stands there under `execution` all the same."""

    checks: list[Check] = field(default_factory=list)
    config: RunConfig | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    backend: str | None = None

    def secrets(self) -> dict[str, str]:
        """Names of the secrets that jobs get, with the side that has them. Those that may be unset are not
        there; of the bound keys, those that aren't this machine's."""
        from launcher.secrets import Environment  # noqa: PLC0415

        if self.config is None:
            return {}
        config, where = self.config, self.config.execution.secrets_where
        given = {**config.execution.env_vars, **config.evaluation.env_vars, **config.deployment.env_vars}
        required = list(config.evaluation.required_env_vars)
        # The key of a run's own endpoint is made with it.
        asked = [api for api in _endpoints(config) if not _own(config, api)]
        required += [api.api_key_name for api in asked if api.api_key_name]
        given |= {name: name for name in required if given.get(name, "?").endswith("?")}
        if where != "host":
            given |= {name: name for name in self.keys.values()}
        needed = {name: value for name, value in given.items() if not value.endswith("?")}
        made = Environment(where)
        made.add(needed, {value.rpartition(":")[2]: "" for value in needed.values()}, "env_vars")
        return {secret.source: secret.where for secret in made.secrets.values()}


def _machine() -> Iterator[Check]:
    from catalog import __version__  # noqa: PLC0415
    from catalog.cachedir import cache_dir  # noqa: PLC0415
    from launcher.runs.database import Database, default_path  # noqa: PLC0415
    from launcher.runs.releasing import left_over  # noqa: PLC0415

    yield ok("evaldock", f"{__version__}, Python {platform.python_version()} ({sys.executable})")
    try:
        opened = Database()
        left = left_over(opened)
        opened.close()
        yield folder("state", default_path().parent, "point EVALDOCK_STATE at a folder of yours")
        if left:
            yield warn(
                "endpoints",
                f"what Lepton served for runs that have ended was not removed: {', '.join(left)}",
                "`evaldock tick` tries again, and says what is in the way",
            )
    except EvaldockError as error:
        yield failed("state", error)
    except OSError as error:
        yield fail("state", f"{default_path().parent}: {error}", "point EVALDOCK_STATE at a folder of yours")
    yield folder("cache", cache_dir(), "point EVALDOCK_CACHE at a folder of yours")


def _catalog(given: Path | None) -> Check:
    from catalog import store  # noqa: PLC0415

    try:
        found = store.load(store.find_root(given))
    except EvaldockError as error:
        return failed("catalog", error)
    if found.problems:
        count = len(found.problems)
        return fail(
            "catalog",
            f"{found.root} does not verify ({count} problem{'s' if count > 1 else ''}): {found.problems[0]}",
            "run `evaldock sync`; `evaldock check` tells them all",
        )
    tasks = sum(len(harness.tasks) for harness in found.harnesses)
    return ok("catalog", f"{found.root}, verified: {tasks} tasks")


def _configuration(asked: Asked) -> _Read:
    from launcher.configuration.compose import Layer  # noqa: PLC0415
    from launcher.configuration.model import validate  # noqa: PLC0415
    from launcher.profiles import profile as profiles  # noqa: PLC0415
    from launcher.profiles import surroundings  # noqa: PLC0415

    read = _Read(backend=asked.backend)
    try:
        around = surroundings.of(asked.profile, kind="tasks", run={"id": "doctor"}, dry_run=True)
        if around.profile is not None:
            chain = " ← ".join(around.profile.chain)
            read.checks.append(ok("profile", f"{chain} ({around.profile.file.shown})"))
            read.keys = around.profile.keys
            read.checks += [fail("profile", problem) for problem in profiles.problems(around.profile)]
            read.backend = read.backend or around.profile.backend
        extra = [Layer("--backend", {"execution": {"type": asked.backend}})] if asked.backend else []
        composed = around.compose(asked.file, asked.overrides, extra=extra)
        read.raw = composed.data.get("execution") or {}
        read.backend = read.backend or read.raw.get("type")
        read.config = validate(composed)
    except EvaldockError as error:
        told = {check.said for check in read.checks}
        problems = error.problems if isinstance(error, InvalidInput) else ()
        read.checks += [fail("settings", problem) for problem in problems if problem not in told]
        read.checks += [] if problems else [failed("settings", error)]
        read.backend = {"local": "docker"}.get(str(read.backend), read.backend)
        return read
    execution = read.config.execution
    read.backend = execution.backend
    where = "the harness's image" if execution.contained else "the harness's packages"
    read.checks.append(ok("settings", f"backend {execution.backend}, with {where}"))
    if execution.remote is None:
        output = Path(execution.output_dir or DEFAULT_OUTPUT).absolute()
        read.checks.append(folder("output", output, "choose another --output-dir"))
    secrets = read.secrets()
    read.checks += _keys({url: name for url, name in read.keys.items() if secrets.get(name) != "runtime"})
    read.checks += _variables(secrets)
    return read


def _keys(bound: Mapping[str, str]) -> Iterator[Check]:
    for url, name in bound.items():
        if os.environ.get(name):
            yield ok("key", f"{name} is set, for {url}")
        else:
            yield warn("key", f"{name}, the key for {url}, is not set", f"export {name}=…")


def _variables(secrets: Mapping[str, str]) -> Iterator[Check]:
    for name, where in sorted(secrets.items()):
        if where != "host" or os.environ.get(name):
            continue
        yield fail("variable", f"{name} is not set, and jobs are to get it", f"export {name}=…")


def _backend(name: str, read: _Read) -> Iterator[Check]:
    module = CHECKS.get(name)
    if module is None:
        near = did_you_mean(name, CHECKS)
        yield fail("backend", f"there is no {name!r}{near}", f"execution.type: there are {', '.join(CHECKS)}")
        return
    subject = Subject(settings=read.raw, execution=read.raw)
    if read.config is not None:
        from launcher.plans.execution_settings import read_execution  # noqa: PLC0415

        subject = Subject(
            settings=read_execution(read.config.execution).settings,
            execution=read.config.execution.model_dump(mode="json"),
            secrets=read.secrets(),
            urls=tuple(api.url for api in _endpoints(read.config) if api.url),
            serves=any(_own(read.config, api) for api in _endpoints(read.config)),
        )
    checks = importlib.import_module(module).checks
    try:
        yield from checks(subject)
    except EvaldockError as error:
        yield failed("backend", error)


def _endpoints(config: RunConfig) -> list[ApiEndpoint]:
    return [target.api_endpoint for target in config.targets or (config.target,)]


def _own(config: RunConfig, api: ApiEndpoint) -> bool:
    """Whether the workspace serves the model for the run."""
    from launcher.plans.asking import hosted  # noqa: PLC0415
    from launcher.plans.endpoint_names import SCHEME  # noqa: PLC0415

    return hosted(config, api) == SCHEME


def _model(config: RunConfig) -> Iterator[Check]:
    from launcher.checks import model  # noqa: PLC0415

    endpoints = [api.model_dump(mode="json") for api in _endpoints(config)]
    here = config.execution.backend in ("process", "docker")
    settings = config.execution.settings() if config.execution.backend == "lepton" else {}
    yield from model.checks(endpoints, settings, here=here)
