"""From the command line to a plan: what `evaldock run` does before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.errors import Refused, UsageError
from catalog.models import Catalog
from catalog.opening import open_catalog
from launcher.configuration.compose import Layer, find
from launcher.configuration.model import validate
from launcher.jobs import RunPlan
from launcher.plans.dependencies import across, waits_for_others
from launcher.plans.execution_settings import run_folder
from launcher.plans.planning import Planned, plan_run
from launcher.profiles import surroundings
from launcher.profiles.override_limits import check_overrides
from launcher.runs import run_id


def plan(
    tasks: Sequence[str],
    config_dir: Path,
    config_name: str | None,
    overrides: Sequence[str],
    options: Mapping[str, Any],
    *,
    output_dir: Path | None,
    catalog_dir: Path | None,
    profile: str | None = None,
    dry_run: bool = False,
) -> Planned:
    """A dry run reaches for nothing outside this machine. Raises UsageError and InvalidInput with everything
    that is wrong, Refused for a catalog that doesn't verify and for keys that would go astray."""
    identity = run_id.new()
    around = surroundings.of(profile, kind="tasks", run={"id": identity}, dry_run=dry_run)
    file = find(config_dir, config_name) if config_name else None
    composed = around.compose(file, overrides, extra=_layers(tasks, options))
    if around.keys.required:
        given = composed.layers[len(composed.layers) - len(overrides) :]
        check_overrides([(layer.name, layer.data) for layer in given])
    config = validate(composed)
    settled = around.settled(composed, config.execution, dry_run=dry_run)
    if settled is not composed:
        config = validate(settled)
    catalog = verified_catalog(catalog_dir)
    planned = plan_run(
        catalog,
        config,
        environ=os.environ,
        run_id=identity,
        directory=run_folder(identity, output_dir, config.execution),
        keys=around.keys,
    )
    return replace(planned, plan=_behind_other_runs(planned.plan), config=settled.data)


def _behind_other_runs(plan: RunPlan) -> RunPlan:
    """Raises InvalidInput for a dependency that is in no run of this machine's database."""
    if not waits_for_others(plan):
        return plan
    from launcher.runs.database import Database  # noqa: PLC0415 # only few runs wait for others

    database = Database()
    try:
        return across(plan, lambda run_id: database.plan(database.resolve(run_id)))
    finally:
        database.close()


def verified_catalog(catalog_dir: Path | None) -> Catalog:
    """Raises Refused for one that doesn't verify."""
    catalog = open_catalog(catalog_dir)
    if catalog.problems and not os.environ.get("EVALDOCK_ALLOW_UNVERIFIED"):
        raise Refused(
            "the catalog does not verify, so a run of it could not be traced",
            place=catalog.root,
            hint="run `evaldock sync`; EVALDOCK_ALLOW_UNVERIFIED=1 runs it all the same",
        )
    return catalog


def _layers(tasks: Sequence[str], options: Mapping[str, Any]) -> list[Layer]:
    endpoint = {
        name: value
        for name, value in (("url", options["url"]), ("api_key_name", options["api_key_name"]))
        if value is not None
    }
    models = list(options["models"])
    layers: list[Layer] = []
    if len(models) > 1:
        if options["url"] is None:
            raise UsageError("several --model-id need one --url", hint="or list `targets` in a configuration")
        targets = [{"api_endpoint": {**endpoint, "model_id": model}} for model in models]
        layers.append(Layer("--model-id", {"targets": targets}))
    elif models or endpoint:
        given = {**endpoint, **({"model_id": models[0]} if models else {})}
        layers.append(Layer("command line", {"target": {"api_endpoint": given}}))
    if tasks:
        layers.append(Layer("command line", {"evaluation": {"tasks": [{"name": task} for task in tasks]}}))
    if options["backend"] is not None:
        layers.append(Layer("--backend", {"execution": {"type": options["backend"]}}))
    if options["limit"] is not None:
        limit = int(options["limit"]) if options["limit"] >= 1 else options["limit"]
        overrides = {"config": {"params": {"limit_samples": limit}}}
        layers.append(Layer("--limit", {"evaluation": {"nemo_evaluator_config": overrides}}))
    return layers
