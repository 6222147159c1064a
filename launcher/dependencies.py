"""Dependencies between the jobs of a run: names to keys, and cycles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from catalog.nearest import did_you_mean
from launcher.configuration.model import Task as TaskConfig
from launcher.jobs import JobPlan

KEY = re.compile(r"[a-z0-9]{16}-\d{3}")


def resolve_names(
    jobs: Sequence[JobPlan], names: Sequence[tuple[str, TaskConfig]], problems: list[str]
) -> list[JobPlan]:
    """`depends_on` as keys: a task's name or `harness.name` means its jobs for the same model, a key of
    another run stays. A name that matches nothing goes to `problems`."""
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
            if not found and not KEY.fullmatch(wanted):
                near = did_you_mean(wanted, [other.task for other in jobs])
                problems.append(f"{job.task}: depends_on {wanted!r} matches no task of this run{near}")
            keys += found or [wanted]
        resolved.append(replace(job, depends_on=tuple(dict.fromkeys(keys))))
    return resolved


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
