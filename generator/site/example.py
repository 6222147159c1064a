"""A task's command for the example endpoint, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import EvaldockError
from catalog.models import Task
from catalog.rendering import render
from generator.site.settings import ExampleEndpoint

OUTPUT_FOLDER = "/results"


@dataclass(frozen=True, slots=True)
class Shown:
    """Either the command's `text` or the `problem` that kept it from being rendered."""

    text: str | None
    problem: str | None = None


def rendered_example(task: Task, example: ExampleEndpoint, endpoint_type: str) -> Shown:
    try:
        return Shown(render(task))
    except EvaldockError as error:
        return Shown(None, error.message)
