"""From recipes to a plan: pure but for reading the recipe's files, offline, every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.errors import InvalidInput
from launcher.code.packaging import CodeTree
from launcher.jobs import Deployment, Endpoint, JobPlan, Resources
from launcher.plans import deployments
from launcher.plans.execution_settings import read_execution, run_folder, run_of
from launcher.plans.planning import Planned, folder_name
from launcher.profiles import key_binding
from launcher.profiles.key_binding import NO_KEYS, Keys
from launcher.recipes import fitting, launching
from launcher.recipes import variables as variables_of
from launcher.recipes.compiling import Compiled, compile_recipe
from launcher.recipes.runspec import Runspec
from launcher.recipes.shipping import code_of, shebang_of
from launcher.secrets import Environment

if TYPE_CHECKING:
    from launcher.configuration.compose import Layer
    from launcher.profiles.surroundings import Surroundings

# A recipe asks no model by itself.
NO_MODEL = Endpoint(model_id="", url="", type="undefined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recipe as a job of a run. `settings` are the backend's own; `warnings` are complete lines."""

    plan: JobPlan
    compiled: Compiled
    settings: Mapping[str, object]
    code: tuple[CodeTree, ...]
    warnings: tuple[str, ...] = ()


def plan_recipe(
    spec: Runspec,
    config: str | None = None,
    overrides: Sequence[str] = (),
    *,
    around: Surroundings,
    layers: Sequence[Layer] = (),
    code: str = "tree",
    environ: Mapping[str, str],
    run_id: str,
    parent: Path | None = None,
    dry_run: bool = False,
) -> Planned:
    """A run of one recipe. `config`, `around` and `layers` as in `compile_recipe`; `code` as in `code_of`;
    `parent` as in `run_folder`.

    Raises InvalidInput with every problem, Refused with every key that would go where it is not bound to go.
    """
    compiled = compile_recipe(spec, config, overrides, around=around, layers=layers, dry_run=dry_run)
    job = plan_job(spec, compiled, code=code_of(spec, code), keys=around.keys, environ=environ, run_id=run_id)
    execution = compiled.how.execution
    directory = run_folder(run_id, parent, execution)
    plan = run_of([job.plan], execution, job.settings, run_id=run_id, directory=directory)
    return Planned(plan, job.warnings, job.code, compiled.whole)


def plan_job(
    spec: Runspec,
    compiled: Compiled,
    *,
    code: tuple[CodeTree | None, str],
    keys: Keys = NO_KEYS,
    environ: Mapping[str, str],
    run_id: str,
    index: int = 0,
    title: str | None = None,
) -> Job:
    """`code` is what is shipped (None where it runs in place) and the script's path in it; `title` what the
    job is called in its run."""
    tree, script = code
    planner = _Planner(spec, compiled, environ, keys)
    made = planner.job(
        run_id=run_id,
        index=index,
        name=title or spec.title,
        script=script,
        code=tree.digest if tree is not None else None,
    )
    wrong, told = compiled.how.execution.check([made])
    planner.problems += wrong
    planner.stop()
    return Job(
        plan=made,
        compiled=compiled,
        settings=dict(planner.reading.settings),
        code=(tree,) if tree else (),
        warnings=(*spec.warnings, *dict.fromkeys((*compiled.warnings, *planner.warnings, *told))),
    )


class _Planner:
    """`problems` and `warnings` are complete lines."""

    def __init__(self, spec: Runspec, compiled: Compiled, environ: Mapping[str, str], keys: Keys) -> None:
        self.spec, self.compiled, self.environ, self.keys = spec, compiled, environ, keys
        self.execution = compiled.how.execution
        self.reading = read_execution(self.execution)
        self.problems = list(self.reading.problems)
        self.warnings = list(self.reading.warnings)

    def job(self, *, run_id: str, index: int, name: str, script: str, code: str | None) -> JobPlan:
        """`script` is the script's path in the shipped `code`, a digest. Raises InvalidInput with every
        problem, Refused with every secret that could go astray."""
        execution, settings, key = self.execution, self.reading.settings, f"{run_id}-{index:03d}"
        # None for no GPU: engines and schedulers refuse to be asked for 0 of them.
        resources = replace(self.reading.resources, nodes=self.compiled.nodes, gpus=self._gpus() or None)
        image = fitting.image(self.spec, self.compiled, self.problems, self.warnings)
        variables, server = self._given(resources)
        return JobPlan(
            key=key,
            run_id=run_id,
            index=index,
            task=name,
            harness="recipe",
            endpoint=NO_MODEL,
            command=self._command(script, key),
            config=variables_of.config(self.compiled, self.keys),
            directory=f"jobs/{index:03d}-{folder_name(name)}",
            image=image,
            packages=() if execution.contained else self.spec.dependencies,
            env=variables.literal,
            secrets=tuple(variables.secrets.values()),
            mounts=self.reading.mounts,
            resources=resources,
            network=execution.network or _text(settings.get("network")),
            user=execution.user or _text(settings.get("user")),
            timeout=execution.timeout,
            deployment=server,
            kind="recipe",
            setup=self.spec.setup,
            on_every_node=self.compiled.nodes > 1 and launching.on_every_node(self.spec),
            code=code,
        )

    def stop(self) -> None:
        """Raises InvalidInput where anything is wrong."""
        if self.problems:
            problems = list(dict.fromkeys(self.problems))
            raise InvalidInput(f"{self.spec.title} can't be planned:", problems, place=str(self.spec.script))

    def _given(self, resources: Resources) -> tuple[Environment, Deployment | None]:
        """Its variables, and the server beside it; the last that can be wrong."""
        variables = variables_of.environment(self.spec, self.compiled, self.environ, self.keys)
        where = self.execution.secrets_where
        server, wrong = deployments.build(
            self.compiled.how.deployment, self.environ, resources, secrets_where=where
        )
        self.problems += (*variables.problems, *wrong, *fitting.problems(self.spec, self.compiled))
        self.stop()
        if astray := variables_of.astray(self.spec, self.compiled, self.keys, variables, server):
            raise key_binding.refused(astray)
        return variables, server

    def _gpus(self) -> int | None:
        own = self.compiled.gpus
        return own if own is not None else self.reading.resources.gpus

    def _command(self, script: str, key: str) -> str:
        spec = self.spec
        return launching.command(
            spec,
            script,
            nodes=self.compiled.nodes,
            gpus=self._gpus(),
            key=key,
            shebang=shebang_of(spec.script) if spec.run.launch == "direct" else "",
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
