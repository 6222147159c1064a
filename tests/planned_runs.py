"""Catalogs and plans for the launcher's tests: quickcheck's own definition, and one that shows every trap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog import framework
from catalog.models import Catalog, Harness, Image
from launcher.code import packaging
from launcher.configuration.compose import Composed, Layer
from launcher.configuration.model import RunConfig, validate
from launcher.jobs import RunPlan
from launcher.plans.planning import plan_run

HARNESSES = Path(__file__).parents[1] / "catalog" / "harnesses"
RUN_ID = "0123456789abcdef"
DIGEST = "sha256:" + "1" * 64
URL = "http://127.0.0.1:8000/v1"

DEFINITION = """
framework: {name: trap, pkg_name: trap}
defaults:
  command: >-
    trap --model {{target.api_endpoint.model_id}} --url "{{target.api_endpoint.url}}"
    {% if target.api_endpoint.api_key_name is not none %}--key ${{target.api_endpoint.api_key_name}}
    {% endif %} --temperature {{config.params.temperature}} --out {{config.output_dir}}
    {{config.params.extra.args}}
  config: {params: {temperature: 0.5, parallelism: 4, extra: {args: ""}}}
  target: {api_endpoint: {stream: false}}
evaluations:
  - {name: One, defaults: {config: {type: one, supported_endpoint_types: [chat, completions]}}}
  - {name: Two, defaults: {config: {type: two, supported_endpoint_types: [completions]}}}
  - name: Tools
    defaults: {config: {type: tool_use, supported_endpoint_types: [chat], required_capabilities: [tools]}}
  - {name: Embeds, defaults: {config: {type: embeds, supported_endpoint_types: [embedding]}}}
  - {name: Odd, defaults: {command: "odd {{config.params.extra.nothing}}", config: {type: odd}}}
"""


def harness(text: str, *, packages: Sequence[str] = (), abilities: Sequence[str] = ()) -> Harness:
    definition = framework.parse(text.encode(), "framework.yml").definition
    image = Image(
        container=f"registry.example/evals/{definition.name}:1",
        digest=DIGEST,
        manifest_digest=DIGEST,
        platform="linux/amd64",
        platforms=("linux/amd64",),
    )
    return Harness(
        name=definition.name,
        entry=definition.name,
        pkg_name=definition.pkg_name,
        image=image,
        sources=(),
        tasks=definition.tasks,
        packages=tuple(packages),
        abilities=tuple(abilities),
    )


def catalog(root: Path | str = HARNESSES.parent) -> Catalog:
    """quickcheck (installable from its folder) and `trap`."""
    quickcheck = harness(
        (HARNESSES / "quickcheck" / "framework.yml").read_text(),
        packages=("./harnesses/quickcheck",),
        abilities=("resume", "shards"),
    )
    trap = harness(DEFINITION, packages=("trap==1.0",))
    return Catalog(root=str(root), mapping_sha256="", harnesses=(quickcheck, trap))


def config(data: Mapping[str, Any]) -> RunConfig:
    return validate(Composed(dict(data), (Layer("run.yaml", data),)))


def plan(
    data: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path = Path("/runs/one"),
    of: Catalog | None = None,
    identity: str = RUN_ID,
    keep: bool = False,
) -> RunPlan:
    """What really runs needs an `identity` of its own: backends find jobs by it. `keep` writes the code that
    it ships into its folder."""
    target = {"api_endpoint": {"url": URL, "model_id": "m"}}
    whole = {"target": target, **data} if "targets" not in data else dict(data)
    planned = plan_run(
        of or catalog(), config(whole), environ=environ or {}, run_id=identity, directory=directory
    )
    if keep:
        packaging.keep(planned)
    return planned.plan
