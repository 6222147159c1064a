"""From the command line to the plan of a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import UsageError
from launcher import run_id, surroundings
from launcher.commands.planning import DEFAULT_OUTPUT
from launcher.configuration.compose import Layer
from launcher.planning import Planned
from launcher.recipes.planning import plan_recipe
from launcher.recipes.runspec import Runspec, parse

# Options of `evaldock run` that speak of tasks and their models.
_OF_TASKS = {"models": "--model-id", "url": "--url", "api_key_name": "--api-key-name", "limit": "--limit"}


def is_recipe(name: str) -> bool:
    return "/" in name or name.endswith(".py")


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
    wrong = [option for name, option in _OF_TASKS.items() if options.get(name)]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} can't be given to a recipe", hint="override its configuration")
    spec = _recipe(Path(names[0]), options)
    identity = run_id.new()
    return plan_recipe(
        spec,
        config,
        overrides,
        around=surroundings.of(
            profile, kind="recipes", run={"id": identity, "name": spec.title}, dry_run=dry_run
        ),
        layers=layers(options),
        code=options["code"],
        environ=os.environ,
        run_id=identity,
        directory=(options["output_dir"] or DEFAULT_OUTPUT).resolve() / identity,
        dry_run=dry_run,
    )


def layers(options: Mapping[str, Any]) -> list[Layer]:
    backend = options.get("backend")
    return [Layer("--backend", {"execution": {"type": backend}})] if backend is not None else []


def _recipe(path: Path, options: Mapping[str, Any]) -> Runspec:
    spec = parse(path)
    return replace(spec, config_dir=options["config_dir"].resolve()) if options["config_dir"] else spec
