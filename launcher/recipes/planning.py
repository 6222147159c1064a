"""From recipes to a plan: pure but for reading the recipe's files, offline, every mistake at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import InvalidInput, UsageError
from catalog.nearest import did_you_mean
from catalog.normal_form import merge
from catalog.references import ImageRef, Transport
from launcher.backends.protocol import MODULES
from launcher.code.packaging import CodeTree
from launcher.jobs import Deployment, Endpoint, JobPlan
from launcher.plans import deployments
from launcher.plans.execution_settings import read_execution, run_folder, run_of
from launcher.plans.planning import Planned, folder_name
from launcher.profiles import key_binding
from launcher.profiles.key_binding import NO_KEYS, Keys
from launcher.recipes import launching
from launcher.recipes.compiling import Compiled, compile_recipe
from launcher.recipes.python_versions import suits
from launcher.recipes.runspec import Runspec
from launcher.recipes.shipping import code_of, shebang_of
from launcher.secrets import SECRET_NAME, Environment

if TYPE_CHECKING:
    from launcher.configuration.compose import Layer
    from launcher.profiles.surroundings import Surroundings

# A recipe asks no model by itself.
NO_MODEL = Endpoint(model_id="", url="", type="undefined")
# Backends whose jobs have one node.
_ALONE = ("process", "docker")
# Backends that start a job's command on several.
_SPREADING = ("slurm", "lepton")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recipe as a job of a run. `settings` are the backend's own; `warnings` are complete lines."""

    plan: JobPlan
    compiled: Compiled
    settings: Mapping[str, object]
    code: tuple[CodeTree, ...]
    warnings: tuple[str, ...] = ()


def plan_recipe(
    spec: Runspec,
    config: str | None = None,
    overrides: Sequence[str] = (),
    *,
    around: Surroundings,
    layers: Sequence[Layer] = (),
    code: str = "tree",
    environ: Mapping[str, str],
    run_id: str,
    parent: Path | None = None,
    dry_run: bool = False,
) -> Planned:
    """A run of one recipe. `config`, `around` and `layers` as in `compile_recipe`; `code` as in `code_of`;
    `parent` as in `run_folder`.

    Raises InvalidInput with every problem, Refused with every key that would go where it is not bound to go.
    """
    compiled = compile_recipe(spec, config, overrides, around=around, layers=layers, dry_run=dry_run)
    job = plan_job(spec, compiled, code=code_of(spec, code), keys=around.keys, environ=environ, run_id=run_id)
    execution = compiled.how.execution
    directory = run_folder(run_id, parent, execution)
    plan = run_of([job.plan], execution, job.settings, run_id=run_id, directory=directory)
    return Planned(plan, job.warnings, job.code, compiled.whole)


def plan_job(
    spec: Runspec,
    compiled: Compiled,
    *,
    code: tuple[CodeTree | None, str],
    keys: Keys = NO_KEYS,
    environ: Mapping[str, str],
    run_id: str,
    index: int = 0,
    title: str | None = None,
) -> Job:
    """`code` is what is shipped (None where it runs in place) and the script's path in it; `title` what the
    job is called in its run."""
    planner = _Planner(spec, compiled, environ, keys)
    reading = read_execution(compiled.how.execution)
    planner.problems += reading.problems
    planner.warnings += reading.warnings
    key = f"{run_id}-{index:03d}"
    gpus = compiled.gpus if compiled.gpus is not None else reading.resources.gpus
    # Engines and schedulers refuse to be asked for none.
    resources = replace(reading.resources, nodes=compiled.nodes, gpus=gpus or None)
    image = planner.image()
    variables = planner.environment()
    where = compiled.how.execution.secrets_where
    server, wrong = deployments.build(compiled.how.deployment, environ, resources, secrets_where=where)
    planner.problems += wrong
    planner.check_size()
    planner.check_python()
    planner.stop()
    if astray := planner.astray(variables, server):
        raise key_binding.refused(astray)
    tree, script = code
    command = launching.command(
        spec,
        script,
        nodes=compiled.nodes,
        gpus=gpus,
        key=key,
        shebang=shebang_of(spec.script) if spec.run.launch == "direct" else "",
    )
    execution, name = compiled.how.execution, title or spec.title
    settings = dict(reading.settings)
    plan = JobPlan(
        key=key,
        run_id=run_id,
        index=index,
        task=name,
        harness="recipe",
        endpoint=NO_MODEL,
        command=command,
        config=planner.config(),
        directory=f"jobs/{index:03d}-{folder_name(name)}",
        image=image,
        packages=() if execution.contained else spec.dependencies,
        env=variables.literal,
        secrets=tuple(variables.secrets.values()),
        mounts=reading.mounts,
        resources=resources,
        network=execution.network or _text(settings.get("network")),
        user=execution.user or _text(settings.get("user")),
        timeout=execution.timeout,
        deployment=server,
        kind="recipe",
        setup=spec.setup,
        on_every_node=compiled.nodes > 1 and launching.on_every_node(spec),
        code=tree.digest if tree is not None else None,
    )
    wrong, told = execution.check([plan])
    planner.problems += wrong
    planner.stop()
    warnings = (*spec.warnings, *dict.fromkeys((*compiled.warnings, *planner.warnings, *told)))
    return Job(
        plan=plan, compiled=compiled, settings=settings, code=(tree,) if tree else (), warnings=warnings
    )


@dataclass(slots=True)
class _Planner:
    spec: Runspec
    compiled: Compiled
    environ: Mapping[str, str]
    keys: Keys
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def backend(self) -> str:
        return self.compiled.how.execution.backend

    def stop(self) -> None:
        """Raises InvalidInput where anything is wrong."""
        if self.problems:
            problems = list(dict.fromkeys(self.problems))
            raise InvalidInput(f"{self.spec.title} can't be planned:", problems, place=str(self.spec.script))

    def image(self) -> str | None:
        if self.backend not in MODULES:
            near = did_you_mean(self.backend, MODULES)
            known = ", ".join(sorted(MODULES))
            self.problems.append(f"execution.type: no backend {self.backend!r}{near}; there are {known}")
            return None
        if not self.compiled.how.execution.contained:
            if self.compiled.image and not self.spec.dependencies:
                self.warnings.append(
                    f"{self.backend} runs no containers: {self.spec.title} has to do without its image, "
                    "and names no dependencies"
                )
            return None
        image = self.compiled.image
        if not image:
            self.problems.append(
                f"{self.backend} runs containers, and no image is named: say tool.runspec.image or "
                "execution.image, or run it with execution.type=process"
            )
            return None
        return self._checked(image)

    def _checked(self, image: str) -> str:
        if image.startswith("/"):
            # A squashed image on a cluster's own disk: that backend's business.
            return image
        try:
            ref = ImageRef.parse(image)
        except UsageError as error:
            self.problems.append(f"image {image!r}: {error.message}")
            return image
        if ref.transport is not Transport.REGISTRY:
            self.problems.append(f"image {image}: {self.backend} can start what lies in a registry only")
        elif ref.digest is None:
            self.warnings.append(f"image {image} is not pinned: another run may get another; add @sha256:…")
        return image

    def environment(self) -> Environment:
        made = Environment(self.compiled.how.execution.secrets_where)
        literal = {}
        for name, value in self.spec.env.items():
            if value.startswith(("host:", "runtime:", "lit:")):
                literal[name] = value
            elif SECRET_NAME.search(name):
                # Not repeated in the message: it may be the secret itself.
                ways = f"host:{name} or runtime:{name}"
                self.problems.append(f"tool.runspec.env.{name}: a secret stands here by name only: {ways}")
            else:
                literal[name] = f"lit:{value}"
        made.add(literal, self.environ, "tool.runspec.env")
        made.add(self.compiled.how.execution.env_vars, self.environ, "execution.env_vars")
        key = self.endpoint()[1]
        if key and key not in made.literal and key not in made.secrets:
            made.add({key: f"{made.where}:{key}"}, self.environ, "target.api_endpoint.api_key_name")
        self.problems += made.problems
        return made

    def endpoint(self) -> tuple[str, str | None]:
        """URL of `target.api_endpoint`, where the configuration has one, and the name of its key."""
        api = self._api()
        url = str(api.get("url") or "")
        name = api.get("api_key_name") or self.keys.key_for(url)
        return url, name if isinstance(name, str) else None

    def config(self) -> dict[str, Any]:
        """What the recipe is told, with the name of the key that is bound to its endpoint."""
        name = self.endpoint()[1]
        if name is None:
            return dict(self.compiled.config)
        return merge(self.compiled.config, {"target": {"api_endpoint": {"api_key_name": name}}})

    def astray(self, variables: Environment, server: Deployment | None) -> list[str]:
        """Complete lines: which secrets could reach an address that they are not bound to."""
        url, name = self.endpoint()
        config, secrets = self.config(), tuple(variables.secrets.values())
        lines = key_binding.refusals(
            self.keys, url=url, key_name=name, secrets=secrets, config=config, place=self.spec.title
        )
        if server is not None:
            lines += key_binding.refusals(
                self.keys,
                url="",
                key_name=None,
                secrets=server.secrets,
                config={},
                place="deployment.env_vars",
            )
        if self.keys.required and any(self.keys.bound(secret.source) for secret in secrets):
            strangers = key_binding.strangers(self.keys, config, variables.literal)
            lines += [f"{self.spec.title}: {line}" for line in strangers]
        return lines

    def _api(self) -> Mapping[str, Any]:
        target = self.compiled.config.get("target")
        api = target.get("api_endpoint") if isinstance(target, Mapping) else None
        return api if isinstance(api, Mapping) else {}

    def check_python(self) -> None:
        """Where its environment is made here, of this Python."""
        wanted, ours = self.spec.requires_python, sys.version_info[:3]
        if self.backend == "process" and wanted and not suits(wanted, ours):
            here = ".".join(map(str, ours))
            self.problems.append(
                f"it requires Python {wanted}, and evaldock runs with {here}: run it in an image, or run "
                "evaldock with another Python"
            )

    def check_size(self) -> None:
        """Nodes and GPUs that the backend, or the way to launch, has no way to give."""
        nodes, gpus = self.compiled.nodes, self.compiled.gpus
        if nodes > 1 and self.backend in _ALONE:
            self.problems.append(
                f"it asks for {nodes} nodes, and {self.backend} has one: execution.nodes=1 runs it on that"
            )
        elif nodes > 1 and launching.on_every_node(self.spec) and self.backend not in _SPREADING:
            self.problems.append(
                f"torchrun is not started on {nodes} nodes by {self.backend}: {' and '.join(_SPREADING)} do "
                "that, and execution.nodes=1 runs it on one"
            )
        if gpus == -1 and self.backend not in _ALONE:
            self.problems.append(
                f"it asks for all GPUs of a node, and {self.backend} wants to know how many: "
                "execution.gpus_per_node=8, for example"
            )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
