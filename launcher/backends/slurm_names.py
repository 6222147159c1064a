"""By which names and numbers Slurm knows the jobs of a run: alone, or as the tasks of an array. Pure.

A task's index is its job's, and one array's tasks are of one attempt: the array's name and the index say
which job it is. See "Job Array Support" in Slurm's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from launcher.jobs import JobPlan

# A cluster's MaxArraySize is 1001 unless it was changed, and the largest index is one less.
LARGEST = 1000
_TASKS = re.compile(r"(\d+)_\[(.*?)(?:%\d+)?\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


@dataclass(frozen=True, slots=True)
class Named:
    """A job as Slurm may know it: by its own name, or as task `index` of an array."""

    name: str
    array: str
    index: int


def named(key: str, attempt: int) -> Named:
    run, _, index = key.rpartition("-")
    return Named(f"evaldock-{key}-{attempt}", array_name(run, attempt), int(index))


def array_name(run_id: str, attempt: int) -> str:
    return f"evaldock-{run_id}-{attempt}"


def name_of(name: str, number: str) -> str:
    """The name of a job that Slurm lists by this name and number: a task's own isn't listed."""
    run, _, attempt = name.rpartition("-")
    _, _, task = number.partition("_")
    return f"{run}-{int(task):03d}-{attempt}" if task.isdigit() else name


def indexes(jobs: Sequence[JobPlan], at_once: int) -> str:
    """For `--array`: `0-3,7%2` where no more than two may run at once."""
    ranges: list[list[int]] = []
    for index in sorted(job.index for job in jobs):
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    made = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"{made}%{at_once}" if at_once < len(jobs) else made


def numbers(text: str) -> Iterator[str]:
    """Every job that a number of Slurm's answers means: `123`, `123_4`, or tasks that wait or were stopped
    while they did, `123_[0-2,7%2]`."""
    match = _TASKS.fullmatch(text)
    if match is None:
        yield text
        return
    for part in match[2].split(","):
        # A list that was cut ends in "...".
        if found := _RANGE.fullmatch(part):
            first = int(found[1])
            last = min(int(found[2] or first), LARGEST)
            yield from (f"{match[1]}_{index}" for index in range(first, last + 1, int(found[3] or 1) or 1))


def whole(ids: Iterable[str]) -> list[str]:
    """The numbers to ask for: an array's for all of its tasks."""
    return list(dict.fromkeys(number.partition("_")[0] for number in ids))
