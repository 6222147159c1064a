"""From a catalog and a configuration to a plan: pure, offline, every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError, InvalidInput, UsageError
from catalog.identity import is_local, params_sha, pinned_packages, task_sha
from catalog.models import Catalog, EntryState, Harness
from catalog.references import Digest, ImageRef, Transport
from catalog.selection import find_task
from launcher.code.harness_code import harness_code
from launcher.code.packaging import CodeTree
from launcher.configuration.model import ApiEndpoint, RunConfig
from launcher.configuration.model import Task as TaskConfig
from launcher.jobs import RESULTS, Deployment, JobPlan, Mount, Resources, RunPlan
from launcher.plans import asking, deployments, sharding
from launcher.plans.dependencies import order_problems, resolve_names
from launcher.plans.execution_settings import read_execution, remote_folder, run_of, unknown_backend
from launcher.profiles import key_binding
from launcher.profiles.key_binding import NO_KEYS, Keys

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SAFE_PATH = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
# What to do with an image that no engine can pull.
_WITHOUT_CONTAINERS = "set `container_runtime: none` to install the harness's packages instead"
_WITHOUT = {
    "docker": "use `execution: process`",
    "slurm": _WITHOUT_CONTAINERS,
    "ray": _WITHOUT_CONTAINERS,
}
_PUSH = "push it to a registry and name it in mapping.toml"


@dataclass(frozen=True, slots=True)
class Planned:
    """`warnings` are complete lines. `code` must be kept in the run's folder before anything is submitted;
    `config`, the compiled configuration, is kept there for people."""

    plan: RunPlan
    warnings: tuple[str, ...] = ()
    code: tuple[CodeTree, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def plan_run(
    catalog: Catalog,
    config: RunConfig,
    *,
    environ: Mapping[str, str],
    run_id: str,
    directory: Path,
    keys: Keys = NO_KEYS,
    first: int = 0,
) -> Planned:
    """The plan, what its owner should know, and the code that it ships.

    `environ` is asked whether names are set, nothing else of it is kept. `directory` is the run's, absolute.
    `keys` says which key may be sent where; `first` is the number of the first job. Raises InvalidInput with
    every problem, Refused with every key that would go elsewhere.
    """
    planner = _Planner(catalog, config, environ, run_id, directory, keys, first)
    jobs = planner.jobs()
    if planner.problems:
        raise InvalidInput("this run can't be planned:", list(dict.fromkeys(planner.problems)))
    if planner.astray:
        raise key_binding.refused(planner.astray)
    plan = run_of(jobs, config.execution, planner.settings, run_id=run_id, directory=directory)
    return Planned(plan, tuple(dict.fromkeys(planner.warnings)), tuple(planner.code.values()))


@dataclass(slots=True)
class _Planner:
    catalog: Catalog
    config: RunConfig
    environ: Mapping[str, str]
    run_id: str
    directory: Path
    keys: Keys = NO_KEYS
    first: int = 0
    problems: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    mounts: tuple[Mount, ...] = ()
    server: Deployment | None = None
    code: dict[str, CodeTree] = field(default_factory=dict)
    shipped: dict[tuple[str, ...], str | None] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        return self.config.execution.backend

    @property
    def remote(self) -> str | None:
        """The run's folder where its jobs run, where that is not this machine's."""
        return remote_folder(self.run_id, self.config.execution)

    def jobs(self) -> list[JobPlan]:
        if (unknown := unknown_backend(self.backend)) is not None:
            self.problems.append(unknown)
            return []
        self._read_execution()
        self.server, wrong = deployments.build(
            self.config.deployment,
            self.environ,
            self.resources,
            secrets_where=self.config.execution.secrets_where,
        )
        self.problems += wrong
        tasks = self.config.evaluation.tasks
        if not tasks:
            self.problems.append("evaluation.tasks: no task is named; `evaldock ls tasks` lists them")
        jobs: list[JobPlan] = []
        names: list[tuple[str, TaskConfig]] = []
        for target in self.config.targets or (self.config.target,):
            for number, task in enumerate(tasks):
                place = f"evaluation.tasks[{number}] ({task.name})"
                try:
                    made = self._jobs(target.api_endpoint, task, place, self.first + len(jobs))
                    jobs += made
                    names += [(target.api_endpoint.model_id or "", task)] * len(made)
                except EvaldockError as error:
                    hint = f" ({error.hint})" if error.hint else ""
                    self.problems.append(f"{place}: {error.message}{hint}")
        if self.problems:
            return []
        jobs = resolve_names(jobs, names, self.problems)
        self.problems += order_problems(jobs)
        wrong, told = self.config.execution.check(jobs)
        self.problems += wrong
        self.warnings += told
        return jobs

    def _read_execution(self) -> None:
        read = read_execution(self.config.execution)
        self.problems += read.problems
        self.warnings += read.warnings
        self.mounts, self.resources, self.settings = read.mounts, read.resources, dict(read.settings)
        if self.backend == "process":
            self.settings["catalog_root"] = str(Path(self.catalog.root).resolve())

    def _jobs(self, api: ApiEndpoint, config: TaskConfig, place: str, index: int) -> list[JobPlan]:
        """One task for one model: a job, or its parts and the one that joins them."""
        if config.shards == 1:
            return [self._job(api, config, place, index)]
        numbers = range(1, config.shards + 1)
        parts = [
            self._job(api, config, place, index + number - 1, shard=(number, config.shards))
            for number in numbers
        ]
        whole = self._job(api, config, place, index + config.shards)
        harness = find_task(self.catalog, config.name).harness
        if (wrong := sharding.problem(harness, whole.overrides)) is not None:
            self.problems.append(f"{place}.shards: {wrong}")
            return [whole]
        seen = sharding.seen_from(
            self.remote or str(self.directory), contained=self.config.execution.fixed_paths
        )
        return [*parts, sharding.joined(whole, parts, harness=harness, seen=seen)]

    def _job(
        self,
        api: ApiEndpoint,
        config: TaskConfig,
        place: str,
        index: int,
        shard: tuple[int, int] | None = None,
    ) -> JobPlan:
        found = find_task(self.catalog, config.name)
        task, harness, execution = found.task, found.harness, self.config.execution
        asked = asking.choose_endpoint(
            self.config, api, config, task, keys=self.keys, place=place, problems=self.problems
        )
        variables = asking.environment(self.config, config, asked.key_name, self.environ, place)
        self.problems += variables.problems
        image, packages = self._origin(harness, config, place)
        laid = asking.overrides(self.config.evaluation, config, api, asked, task)
        directory = f"jobs/{index:03d}-{folder_name(task.id)}-{folder_name(asked.model_id)}"
        if shard is not None:
            laid = sharding.laid_over(laid, *shard)
            directory += "-{}of{}".format(*shard)
        command, effective = asking.command(task, laid, asked.type, self._results(directory))
        self.astray += asking.astray(
            self.keys,
            asked,
            variables,
            config,
            laid=laid,
            effective=effective,
            server=self.server,
            place=place,
        )
        return JobPlan(
            key=f"{self.run_id}-{index:03d}",
            run_id=self.run_id,
            index=index,
            task=task.id,
            harness=harness.name,
            endpoint=asked,
            command=command,
            config=effective,
            directory=directory,
            image=image,
            container=config.container or harness.image.container,
            packages=packages,
            abilities=harness.abilities,
            env=variables.literal,
            secrets=tuple(variables.secrets.values()),
            mounts=self.mounts,
            resources=self.resources,
            network=execution.network or self.settings.get("network"),
            user=execution.user or self.settings.get("user"),
            timeout=config.timeout or execution.timeout,
            deployment=self.server,
            depends_on=config.depends_on,
            task_sha=task_sha(harness, task, pinned_packages(Path(self.catalog.root), packages)),
            params_sha=params_sha(task, laid),
            overrides=laid,
            code=self._ship(packages),
            kind="shard" if shard else "evaluation",
        )

    def _ship(self, packages: tuple[str, ...]) -> str | None:
        """The digest of the code archive with what of the packages only this machine has."""
        if self.remote is None:
            return None
        if packages not in self.shipped:
            tree = harness_code(Path(self.catalog.root), packages)
            if tree is not None:
                self.code[tree.digest] = tree
            self.shipped[packages] = tree.digest if tree else None
        return self.shipped[packages]

    def _origin(self, harness: Harness, config: TaskConfig, place: str) -> tuple[str | None, tuple[str, ...]]:
        """What the harness comes from: an image by digest, or packages where nothing runs containers."""
        if harness.state is EntryState.STALE:
            self.warnings.append(f"{harness.name} is stale: {harness.reason}")
        if not self.config.execution.contained:
            self._check_packages(harness, place)
            return None, harness.packages
        base = Path(self.catalog.root)
        ref = ImageRef.parse(config.container or harness.image.container, base=base)
        if ref.transport is not Transport.REGISTRY:
            self.problems.append(
                f"{place}: {ref} is not in a registry, so the {self.backend} backend can't start it; "
                f"give `container` an image by digest, or {_WITHOUT.get(self.backend, _PUSH)}"
            )
        elif config.container is None:
            ref = ref.pinned(Digest.parse(harness.image.digest))
        elif ref.digest is None:
            self.problems.append(f"{place}.container: {ref} is not pinned; add @sha256:…")
        return str(ref), ()

    def _check_packages(self, harness: Harness, place: str) -> None:
        if not harness.packages:
            self.problems.append(
                f"{place}: without containers it needs `packages`, and mapping.toml names none for "
                f"{harness.entry!r}"
            )
        loose = [p for p in harness.packages if not is_local(p) and "==" not in p]
        if loose:
            listed = ", ".join(loose)
            self.problems.append(f"packages of {harness.entry!r} are not pinned: {listed} (NAME==VERSION)")

    def _results(self, directory: str) -> str:
        """The results folder as the job sees it: the same in every container, a real path without one."""
        if self.config.execution.fixed_paths:
            return RESULTS
        results = f"{self.remote or self.directory}/{directory}/artifacts"
        if not _SAFE_PATH.fullmatch(results):
            raise UsageError(
                f"the output directory {results!r} has characters that harness commands don't quote",
                hint="choose --output-dir with letters, digits and @%+=:,./- only",
            )
        return results


def folder_name(text: str) -> str:
    """A part of a folder's name made of any text."""
    return _UNSAFE.sub("-", text).strip("-.")[:60] or "x"
