"""From a pipeline to a plan: its steps as the jobs of one run, each with the results that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound, UsageError
from catalog.nearest import did_you_mean
from launcher.code.packaging import CodeTree
from launcher.configuration.model import Execution
from launcher.jobs import JobPlan, RunPlan
from launcher.plans.execution_settings import run_folder, run_of
from launcher.plans.planning import Planned
from launcher.recipes.pipelines import Pipeline, Step

# Settings of a run as a whole: its steps can't differ in them.
_OF_THE_RUN = ("mode", "parallel", "retries", "on_failure", "deadline", "queue_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step as a job. In `job`, results that it needs stand as `placeholder(name)`."""

    job: JobPlan
    execution: Execution
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    code: tuple[CodeTree, ...] = ()
    warnings: tuple[str, ...] = ()


# Plans one step: its overrides, its number, what `${run.inputs.…}` reaches.
Planner = Callable[[Step, Sequence[str], int, Mapping[str, str]], StepPlan]


def placeholder(name: str) -> str:
    """Stands for the folder of a step's results until it is known how the jobs that need it see it."""
    return f"<results of {name}>"


def plan_pipeline(
    pipeline: Pipeline, overrides: Sequence[str], plan_step: Planner, *, run_id: str, parent: Path | None
) -> Planned:
    """`overrides` begin with a step's name, or with `execution` for all of them; `parent` as in `run_folder`.

    Raises UsageError and InvalidInput with what is wrong.
    """
    given = _by_step(pipeline, overrides)
    steps = {step.name: step for step in pipeline.steps}
    planned: dict[str, StepPlan] = {}
    wrong: list[UsageError | NotFound] = []
    for index, step in enumerate(pipeline.steps):
        inputs = {steps[name].input_name: placeholder(name) for name in step.needs}
        try:
            planned[step.name] = plan_step(step, (*step.overrides, *given[step.name]), index, inputs)
        except (UsageError, NotFound) as error:
            wrong.append(error)
    if len(wrong) > 1:
        raise InvalidInput(f"{len(wrong)} steps can't be planned:", [str(error) for error in wrong])
    if wrong:
        raise wrong[0]
    _check(planned)
    settings: dict[str, Any] = {}
    for one in planned.values():
        settings |= one.settings
    execution = next(iter(planned.values())).execution
    directory = run_folder(run_id, parent, execution)
    ordered = [one.job for one in planned.values()]
    run = run_of(ordered, execution, settings, run_id=run_id, directory=directory)
    jobs = tuple(_linked(run, step, steps, planned) for step in pipeline.steps)
    trees = {tree.digest: tree for one in planned.values() for tree in one.code}
    return Planned(
        replace(run, jobs=jobs),
        tuple(dict.fromkeys(line for one in planned.values() for line in one.warnings)),
        tuple(trees.values()),
        {name: one.config for name, one in planned.items()},
    )


def _linked(run: RunPlan, step: Step, steps: Mapping[str, Step], planned: Mapping[str, StepPlan]) -> JobPlan:
    """The step's job, after those it needs and with their results in the places that it sees them at."""
    needed = [planned[name].job for name in step.needs]
    own = planned[step.name]
    job = replace(
        own.job,
        depends_on=tuple(other.key for other in needed),
        inputs={steps[name].input_name: planned[name].job.directory for name in step.needs},
    )
    seen = run.inputs(job, contained=own.execution.fixed_paths)
    texts = {placeholder(name): seen[steps[name].input_name] for name in step.needs}
    return replace(
        job,
        command=_filled(job.command, texts),
        config=_filled(job.config, texts),
        env=_filled(job.env, texts),
        overrides=_filled(job.overrides, texts),
    )


def _filled(data: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(data, Mapping):
        return {key: _filled(value, texts) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(_filled(value, texts) for value in data)
    if isinstance(data, str):
        for mark, text in texts.items():
            data = data.replace(mark, text)
    return data


def _by_step(pipeline: Pipeline, overrides: Sequence[str]) -> dict[str, list[str]]:
    names = [step.name for step in pipeline.steps]
    given: dict[str, list[str]] = {name: [] for name in names}
    for text in overrides:
        name, dot, rest = text.lstrip("+").partition(".")
        if dot and name == "execution":
            for each in given.values():
                each.append(text)
        elif dot and name in given and "=" in rest:
            given[name].append(rest)
        else:
            near = did_you_mean(name, names)
            raise UsageError(
                f"not an override of a pipeline: {text!r}{near}",
                hint=f"expected STEP.key=value or execution.key=value; the steps are {', '.join(names)}",
            )
    return given


def _check(planned: Mapping[str, StepPlan]) -> None:
    """A run is sent to one backend with one set of its settings."""
    (first, one), *rest = planned.items()
    problems = []
    for name, other in rest:
        if other.execution.backend != one.execution.backend:
            problems.append(
                f"{first} would run on {one.execution.backend} and {name} on {other.execution.backend}: "
                "a run has one backend; say execution.type for all of them"
            )
            continue
        for key in _OF_THE_RUN:
            theirs, ours = getattr(other.execution, key), getattr(one.execution, key)
            if theirs != ours:
                problems.append(
                    f"execution.{key} is {ours!r} for {first} and {theirs!r} for {name}: "
                    "say it once, in the pipeline's [execution]"
                )
        for key in sorted(one.settings.keys() & other.settings.keys()):
            if one.settings[key] == other.settings[key]:
                continue
            problems.append(
                f"{key} is {one.settings[key]!r:.60} for {first} and {other.settings[key]!r:.60} for {name}: "
                "the jobs of a run share the backend's settings"
            )
        if (other.execution.remote, other.execution.output_dir) != (
            one.execution.remote,
            one.execution.output_dir,
        ):
            problems.append(
                f"{first} and {name} would run below different folders: say execution.output_dir once"
            )
    if problems:
        raise InvalidInput("these steps can't be one run:", problems)
