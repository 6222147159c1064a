"""Dependencies between jobs, of one run and of several: names to keys, and cycles."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from catalog.errors import EvaldockError, InvalidInput
from catalog.nearest import did_you_mean
from launcher.configuration.model import Task as TaskConfig
from launcher.jobs import JobPlan, RunPlan

KEY = re.compile(r"[a-z0-9]{16}-\d{3}")


def resolve_names(
    jobs: Sequence[JobPlan], names: Sequence[tuple[str, TaskConfig]], problems: list[str]
) -> list[JobPlan]:
    """`depends_on` as keys: a task's name or `harness.name` means its jobs for the same model. What is of
    another run, a key or `RUN/TASK`, stays for `across`. A name that matches nothing goes to `problems`."""
    resolved = []
    for job, (model, _) in zip(jobs, names, strict=True):
        keys: list[str] = []
        for wanted in job.depends_on:
            found = [
                other.key
                for other, (its_model, config) in zip(jobs, names, strict=True)
                if wanted in (other.task, config.name, other.task.partition(".")[2], other.key)
                and its_model == model
            ]
            if not found and not KEY.fullmatch(wanted) and "/" not in wanted:
                near = did_you_mean(wanted, [other.task for other in jobs])
                problems.append(f"{job.task}: depends_on {wanted!r} matches no task of this run{near}")
            keys += found or [wanted]
        resolved.append(replace(job, depends_on=tuple(dict.fromkeys(keys))))
    return resolved


def waits_for_others(plan: RunPlan) -> bool:
    own = {job.key for job in plan.jobs}
    return any(not own.issuperset(job.depends_on) for job in plan.jobs)


def across(plan: RunPlan, find: Callable[[str], RunPlan]) -> RunPlan:
    """The plan with `RUN/TASK` replaced by keys of that run: its jobs of the task for the same model, else
    for all of its models. `find` gives the run that an id, or the beginning of one, names, and raises
    NotFound or UsageError. Raises InvalidInput naming everything that matches nothing."""
    own = {job.key for job in plan.jobs}
    problems: list[str] = []

    def keys(job: JobPlan, wanted: str) -> list[str]:
        if wanted in own:
            return [wanted]
        run, slash, task = wanted.partition("/")
        try:
            other = find(run if slash else wanted.partition("-")[0])
        except EvaldockError as error:
            problems.append(f"{job.task}: depends_on {wanted!r}: {error.message}")
            return []
        if slash:
            named = [each for each in other.jobs if task in (each.task, each.task.partition(".")[2])]
        else:
            named = [each for each in other.jobs if each.key == wanted]
        if not named:
            known = ", ".join(dict.fromkeys(each.task for each in other.jobs))
            problems.append(
                f"{job.task}: depends_on {wanted!r} matches nothing of that run, which has {known}"
            )
        same = [each for each in named if each.endpoint.model_id == job.endpoint.model_id]
        return [each.key for each in same or named]

    jobs = [
        replace(
            job,
            depends_on=tuple(dict.fromkeys(key for wanted in job.depends_on for key in keys(job, wanted))),
        )
        for job in plan.jobs
    ]
    if problems:
        raise InvalidInput("this run can't be planned:", problems)
    return replace(plan, jobs=tuple(jobs))


def order_problems(jobs: Sequence[JobPlan]) -> list[str]:
    """One line that names the cycle, where there is one."""
    by_key = {job.key: job for job in jobs}
    done: set[str] = set()

    def walk(key: str, chain: tuple[str, ...]) -> list[str]:
        if key in chain:
            cycle = (*chain[chain.index(key) :], key)
            return [f"dependencies go in a circle: {' → '.join(by_key[each].task for each in cycle)}"]
        if key in done or key not in by_key:
            return []
        for wanted in by_key[key].depends_on:
            if found := walk(wanted, (*chain, key)):
                return found
        done.add(key)
        return []

    for job in jobs:
        if found := walk(job.key, ()):
            return found
    return []
