"""From the command line to the plan of a recipe, or of a pipeline of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from catalog.console import note, warn
from catalog.errors import InvalidInput, UsageError
from launcher.code.packaging import CodeTree
from launcher.commands.planning import verified_catalog
from launcher.configuration.compose import Layer, find
from launcher.configuration.model import RunConfig, validate
from launcher.plans.execution_settings import run_folder
from launcher.plans.planning import Planned, plan_run
from launcher.profiles import surroundings
from launcher.profiles.surroundings import Surroundings
from launcher.recipes import piping
from launcher.recipes.compiling import check_overrides, compile_recipe
from launcher.recipes.pipeline_planning import StepPlan, plan_pipeline
from launcher.recipes.pipelines import Pipeline, Step, read
from launcher.recipes.planning import plan_job, plan_recipe
from launcher.recipes.runspec import Runspec
from launcher.recipes.runspec_reading import parse
from launcher.recipes.shipping import code_of, root_of
from launcher.runs import run_id

# Options of `evaldock run` that speak of tasks and their models.
_OF_TASKS = {"models": "--model-id", "url": "--url", "api_key_name": "--api-key-name", "limit": "--limit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says of how something is run. A dry run reaches for nothing outside this
    machine."""

    overrides: tuple[str, ...]
    profile: str | None
    options: Mapping[str, Any]
    dry_run: bool
    run_id: str

    @property
    def parent(self) -> Path | None:
        found: Path | None = self.options["output_dir"]
        return found

    @property
    def layers(self) -> list[Layer]:
        backend = self.options["backend"]
        return [Layer("--backend", {"execution": {"type": backend}})] if backend is not None else []


def is_recipe(name: str) -> bool:
    return "/" in name or name.endswith(".py") or is_pipeline(name)


def is_pipeline(name: str) -> bool:
    return name.endswith(".toml")


def plan(
    names: Sequence[str],
    config: str | None,
    overrides: Sequence[str],
    *,
    profile: str | None,
    options: Mapping[str, Any],
    dry_run: bool,
) -> Planned:
    """Raises UsageError and InvalidInput with everything that is wrong."""
    if len(names) > 1:
        raise UsageError(
            f"{len(names)} names, one of them a recipe: {', '.join(names)}",
            hint="a recipe is a run of its own; several in order are a pipeline",
        )
    _check_options(options)
    asked = Asked(
        overrides=tuple(overrides), profile=profile, options=options, dry_run=dry_run, run_id=run_id.new()
    )
    if not is_pipeline(names[0]):
        return _plan_recipe(Path(names[0]), config, asked)
    if config is not None:
        raise UsageError("-c can't be given to a pipeline", hint="its steps name their configurations")
    return _plan_pipeline(Path(names[0]), asked)


def _check_options(options: Mapping[str, Any]) -> None:
    wrong = [option for name, option in _OF_TASKS.items() if options.get(name)]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} can't be given to a recipe", hint="override its configuration")


def _plan_recipe(path: Path, config: str | None, asked: Asked) -> Planned:
    spec = _recipe(path, asked.options)
    return plan_recipe(
        spec,
        config,
        asked.overrides,
        around=_around(asked, asked.profile, "recipes", {"name": spec.title}),
        layers=asked.layers,
        code=asked.options["code"],
        environ=os.environ,
        run_id=asked.run_id,
        parent=asked.parent,
        dry_run=asked.dry_run,
    )


def _plan_pipeline(path: Path, asked: Asked) -> Planned:
    pipeline = read(path)
    own = Layer(f"{path}: execution", {"execution": pipeline.execution})
    steps = _Steps(pipeline, [own, *asked.layers], asked)
    return plan_pipeline(pipeline, asked.overrides, steps.plan, run_id=asked.run_id, parent=asked.parent)


def run_pipe(path: Path, overrides: Sequence[str], *, profile: str | None, options: Mapping[str, Any]) -> int:
    """A pipeline as processes of this machine, from standard input to standard output. Its exit code.

    Raises what planning it can raise, and InvalidInput for steps that make no pipe.
    """
    _check_options(options)
    if profile is not None:
        raise UsageError("--pipe runs on this machine alone", hint="leave the profile out")
    pipeline = read(path)
    chain = piping.chain(pipeline)
    here = Layer("--pipe", {"execution": {"type": "process"}})
    asked = Asked(
        overrides=tuple(overrides), profile=None, options=options, dry_run=False, run_id=run_id.new()
    )
    own = Layer(f"{path}: execution", {"execution": pipeline.execution})
    steps = _Piped(pipeline, [own, here], asked)
    unlinked = replace(pipeline, steps=tuple(replace(step, needs=(), profile=None) for step in chain))
    planned = plan_pipeline(unlinked, asked.overrides, steps.plan, run_id=asked.run_id, parent=asked.parent)
    for line in planned.warnings:
        warn(line)
    roots = [root_of(parse(step.recipe), options["code"]) for step in chain if step.recipe is not None]
    return piping.run_pipe(planned.plan.jobs, roots, Path(planned.plan.directory), say=note)


@dataclass(frozen=True, slots=True)
class _Steps:
    pipeline: Pipeline
    layers: Sequence[Layer]
    asked: Asked
    # Steps of one project ship the same: it is read once.
    trees: dict[Path, CodeTree] = field(default_factory=dict)

    def plan(self, step: Step, given: Sequence[str], index: int, inputs: Mapping[str, str]) -> StepPlan:
        known = {"name": self.pipeline.name, "step": step.name, "inputs": inputs}
        profile = step.profile or self.asked.profile
        if step.recipe is not None:
            around = _around(self.asked, profile, "recipes", known)
            return self._recipe(step, _recipe(step.recipe, self.asked.options), given, index, around)
        return self._task(step, given, index, _around(self.asked, profile, "tasks", known))

    def _recipe(
        self, step: Step, spec: Runspec, given: Sequence[str], index: int, around: Surroundings
    ) -> StepPlan:
        compiled = compile_recipe(
            spec, step.config, given, around=around, layers=self.layers, dry_run=self.asked.dry_run
        )
        job = plan_job(
            spec,
            compiled,
            code=self._code(spec),
            keys=around.keys,
            environ=os.environ,
            run_id=self.asked.run_id,
            index=index,
            title=step.name,
        )
        return StepPlan(
            job=job.plan,
            execution=compiled.how.execution,
            settings=job.settings,
            config=compiled.whole,
            code=job.code,
            warnings=job.warnings,
        )

    def _code(self, spec: Runspec) -> tuple[CodeTree | None, str]:
        what = self.asked.options["code"]
        root = root_of(spec, what)
        place = spec.script if what == "script" else root
        if place not in self.trees:
            self.trees[place] = code_of(spec, what)[0]
        return self.trees[place], spec.script.relative_to(root).as_posix()

    def _task(self, step: Step, given: Sequence[str], index: int, around: Surroundings) -> StepPlan:
        """One task for one model: the results of a step are one folder."""
        file = find(Path(step.config).parent, Path(step.config).name) if step.config is not None else None
        task = Layer(f"step {step.name}", {"evaluation": {"tasks": [{"name": step.task}]}})
        composed = around.compose(file, given, extra=[task, *self.layers])
        check_overrides(composed, given, around)
        config = validate(composed)
        settled = around.settled(composed, config.execution, dry_run=self.asked.dry_run)
        config = config if settled is composed else validate(settled)
        planned = self._one_task(step, config, index, around)
        return StepPlan(
            job=planned.plan.jobs[0],
            execution=config.execution,
            settings=planned.plan.settings,
            config=settled.data,
            code=planned.code,
            warnings=planned.warnings,
        )

    def _one_task(self, step: Step, config: RunConfig, index: int, around: Surroundings) -> Planned:
        planned = plan_run(
            verified_catalog(self.asked.options["catalog_dir"]),
            config,
            environ=os.environ,
            run_id=self.asked.run_id,
            directory=run_folder(self.asked.run_id, self.asked.parent, config.execution),
            keys=around.keys,
            first=index,
        )
        if len(planned.plan.jobs) != 1:
            problem = f"{step.name}: {len(planned.plan.jobs)} jobs, where a step is one task for one model"
            raise InvalidInput("this pipeline can't be planned:", [problem])
        return planned


class _Piped(_Steps):
    """Recipes run where they lie: nothing is shipped."""

    def _code(self, spec: Runspec) -> tuple[CodeTree | None, str]:
        root = root_of(spec, self.asked.options["code"])
        return None, spec.script.relative_to(root).as_posix()


def _around(asked: Asked, profile: str | None, kind: str, known: Mapping[str, Any]) -> Surroundings:
    run = {"id": asked.run_id, **known}
    return surroundings.of(profile, kind=kind, run=run, dry_run=asked.dry_run)


def _recipe(path: Path, options: Mapping[str, Any]) -> Runspec:
    spec = parse(path)
    return replace(spec, config_dir=options["config_dir"].resolve()) if options["config_dir"] else spec
