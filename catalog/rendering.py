"""From a task to the command that runs it.

A command is a Jinja2 template over the effective task. It is rendered again and again until nothing changes,
as parameters may hold templates themselves. Every known field that isn't set is null to the template; asking
for any other that isn't there is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError, UndefinedError

from catalog.definition_fields import ENDPOINT_TYPES, with_nulls
from catalog.errors import Refused
from catalog.models import Task
from catalog.normal_form import merge
from catalog.sandbox import LimitPassed, Sandbox

MAX_PASSES = 10

EXAMPLE_URLS = {
    "chat": "https://endpoint.example/v1/chat/completions",
    "completions": "https://endpoint.example/v1/completions",
    "completions_logprob": "https://endpoint.example/v1/completions",
    "embedding": "https://endpoint.example/v1/embeddings",
}
EXAMPLE_MODEL = "my-model"
EXAMPLE_KEY_NAME = "API_KEY"
EXAMPLE_OUTPUT = "/results"

_thread = threading.local()


class Unrenderable(Refused):
    """A command that can't be rendered: invalid, unsafe, or in want of values that nobody gave.

    `forbidden` says that no values could help: it went past a limit or for Python's insides.
    """

    forbidden = False


def render(task: Task, overrides: Mapping[str, Any] | None = None) -> str:
    """The command of `task` with `overrides` (`config`, `target`) laid over its defaults; a null in them
    clears, unlike one in a definition.

    Raises Unrenderable, naming the task.
    """
    values = with_nulls(merge(task.defaults, overrides or {}))
    try:
        return render_text(str(values["command"]), values)
    except Unrenderable as error:
        error.place = f"command of {task.id}"
        raise


def example(task: Task) -> str:
    """The command for an endpoint that doesn't exist, as a page shows it. Raises Unrenderable."""
    return render(task, example_overrides(task))


def example_overrides(task: Task) -> dict[str, Any]:
    """An endpoint of the first type that the task supports, and an output directory."""
    listed = ["chat" if each == "vlm" else each for each in task.endpoint_types]
    kind = next((each for each in listed if each in ENDPOINT_TYPES), "chat")
    endpoint = {
        "url": EXAMPLE_URLS.get(kind, EXAMPLE_URLS["chat"]),
        "model_id": EXAMPLE_MODEL,
        "api_key_name": EXAMPLE_KEY_NAME,
        "type": kind,
    }
    return {"config": {"output_dir": EXAMPLE_OUTPUT}, "target": {"api_endpoint": endpoint}}


def render_text(template: str, values: Mapping[str, Any]) -> str:
    """`template` rendered with `values` until nothing changes. Raises Unrenderable."""
    sandbox = _sandbox()
    text = template
    for _ in range(MAX_PASSES):
        try:
            rendered = sandbox.rendered(text, values)
        except Exception as error:  # noqa: BLE001 # an expression raises whatever Python raises for it
            raise _unrenderable(error) from None
        if rendered == text:
            return text
        text = rendered
        if not any(mark in text for mark in ("{{", "{%", "{#")):
            # Nothing is left to render; further passes would only drop newlines at the end.
            return text.rstrip("\n")
    raise Unrenderable(f"still a template after {MAX_PASSES} rounds of rendering")


def check_template(template: str) -> str | None:
    """Why `template` can't be the command of any task, or None. Values play no part."""
    try:
        _sandbox().checked(template)
    except Exception as error:  # noqa: BLE001 # deep nesting ends in RecursionError, SyntaxError, MemoryError
        return _why(error)
    return None


def check_example(task: Task) -> tuple[bool, str] | None:
    """Whether the command of `task` must not be rendered at all, or only can't with nothing but an endpoint
    given, and why; None when it can."""
    try:
        example(task)
    except Unrenderable as error:
        return error.forbidden, error.message
    return None


def _sandbox() -> Sandbox:
    # Compiled templates are worth keeping, limits are counted per rendering: one sandbox for each thread.
    found: Sandbox | None = getattr(_thread, "sandbox", None)
    if found is None:
        found = _thread.sandbox = Sandbox()
    return found


def _why(error: Exception) -> str:
    if isinstance(error, LimitPassed):
        return f"it {error}"
    if isinstance(error, TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    if isinstance(error, UndefinedError):
        return f"a value is missing: {error.message}"
    if isinstance(error, SecurityError):
        return f"not allowed: {error.message}"
    if isinstance(error, TemplateError):
        return str(error.message)
    if isinstance(error, RecursionError | SyntaxError | MemoryError):
        return "it is nested too deeply"
    return f"{type(error).__name__}: {error}"[:500]


def _unrenderable(error: Exception) -> Unrenderable:
    hint = "give it as a parameter of the run" if isinstance(error, UndefinedError) else None
    found = Unrenderable(_why(error), hint=hint)
    found.forbidden = isinstance(error, LimitPassed | SecurityError)
    return found
