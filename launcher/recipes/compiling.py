"""The compiled configuration of a recipe: its YAML, the profile, what the command line overrides.

`execution` and `deployment` say how the recipe is run, by the same settings as for tasks; everything else is
the recipe's own and reaches it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound
from launcher.configuration.chosen_backend import settle
from launcher.configuration.compose import Composed, Layer, find
from launcher.configuration.model import RunConfig, model_for, validate
from launcher.profiles import override_limits
from launcher.profiles.surroundings import Surroundings
from launcher.recipes.runspec import Runspec
from launcher.secrets import SECRET_NAME

# Parts of a profile that mean something to a recipe.
_FROM_PROFILE = ("execution", "deployment", "target")
# Settings of `execution` that recipes have on every backend, and other names of theirs. The field's own
# configurations have them under `run.env`.
_SPELT: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "container", "container_image"),
    "nodes": ("nodes",),
    "gpus_per_node": ("gpus_per_node", "gpus"),
}
_MOUNTS, _VARIABLES, _KINDS = (
    ("mounts", "container_mounts"),
    ("env", "env_vars"),
    ("host:", "runtime:", "lit:"),
)
# Values that ask for nothing: none, and Lepton's lists of names.
_ABSENT = (type(None), list, tuple)
_HOLDERS = (("execution",), ("run", "env"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """`config` is what the recipe gets, `how` the settings it is run by, `whole` both as they were composed.
    `gpus` is a count on each node (-1: all), None where nobody asked for any. `warnings` are complete
    lines."""

    whole: Mapping[str, Any]
    config: Mapping[str, Any]
    how: RunConfig
    image: str | None
    nodes: int
    gpus: int | None
    warnings: tuple[str, ...] = ()


def compile_recipe(
    spec: Runspec,
    name: str | None,
    overrides: Sequence[str],
    *,
    around: Surroundings,
    layers: Sequence[Layer] = (),
    dry_run: bool = False,
) -> Compiled:
    """`name` is a configuration in the recipe's folder, or a path where it has a slash or ends in .yaml.
    `layers` come between profile and overrides. A dry run reaches for nothing outside this machine.

    Raises NotFound, and UsageError or InvalidInput with what is wrong in it.
    """
    within = _for_recipes(around)
    composed = within.compose(configuration_file(spec, name), overrides, extra=layers)
    check_overrides(composed, overrides, within)
    reader = _Reader(spec, within)
    compiled = reader.read(composed)
    settled = within.settled(composed, compiled.how.execution, dry_run=dry_run)
    return compiled if settled is composed else reader.read(settled)


def check_overrides(composed: Composed, overrides: Sequence[str], around: Surroundings) -> None:
    """Raises Refused where keys must be bound, and an override could lead them elsewhere."""
    if around.keys.required:
        given = composed.layers[len(composed.layers) - len(overrides) :]
        override_limits.check_overrides([(layer.name, layer.data) for layer in given])


def configuration_file(spec: Runspec, name: str | None) -> Path | None:
    """The YAML file to begin with; None where the recipe has no default one and nobody asked for any."""
    if name is not None and ("/" in name or name.endswith((".yaml", ".yml"))):
        return find(Path(name).parent, Path(name).name)
    if name is None and "config.default" not in spec.stated:
        try:
            return find(spec.config_dir, spec.config.default)
        except NotFound:
            return None
    return find(spec.config_dir, name or spec.config.default)


def _for_recipes(around: Surroundings) -> Surroundings:
    if around.profile is None:
        return around
    layer = around.profile.layer
    data = {part: layer.data[part] for part in _FROM_PROFILE if part in layer.data}
    return replace(around, profile=replace(around.profile, layer=replace(layer, data=data)))


@dataclass(frozen=True, slots=True)
class _Reader:
    spec: Runspec
    around: Surroundings

    def read(self, composed: Composed) -> Compiled:
        data = dict(composed.data)
        execution = _mapping(data.pop("execution", {}), "execution", composed)
        # Other ways to name the backend; above `execution`, a recipe's keys are its own.
        execution = dict(
            settle(Composed({"execution": execution}, composed.layers)).data.get("execution", {})
        )
        deployment = _mapping(data.pop("deployment", {}), "deployment", composed)
        asked = {name: self._asked(composed, execution, name) for name in _SPELT}
        execution, warnings = _with_field(execution, composed)
        for name in (each for spelt in _SPELT.values() for each in spelt):
            if not isinstance(execution.get(name), list | tuple):
                execution.pop(name, None)
        image = self._image(asked["image"], composed)
        execution.setdefault("type", "docker" if image else "process")
        if self.spec.run.launch == "ray" and _knows(execution["type"], "with_ray"):
            execution.setdefault("with_ray", True)
        how = validate(Composed({"execution": execution, "deployment": deployment}, composed.layers))
        said = {**execution, **{name: value for name, value in asked.items() if value is not None}}
        return Compiled(
            whole={"execution": said, **({"deployment": deployment} if deployment else {}), **data},
            config=data,
            how=how,
            image=image,
            nodes=self._nodes(asked["nodes"], composed),
            gpus=self._gpus(asked["gpus_per_node"], composed),
            warnings=warnings,
        )

    def _asked(self, composed: Composed, execution: Mapping[str, Any], name: str) -> Any:
        """What the strongest layer says, the profile being the weakest of them; None where nobody does."""
        resolved = {("execution",): execution, ("run", "env"): composed.run.get("env")}
        profile = self.around.profile.layer if self.around.profile else None
        for layer in reversed([each for each in composed.layers if each is not profile]):
            for holder in _HOLDERS:
                for each in _SPELT[name]:
                    if not isinstance(_at(layer.data, holder).get(each), _ABSENT):
                        return _at(resolved, (holder,)).get(each)
        found = (execution.get(each) for each in _SPELT[name])
        return next((each for each in found if not isinstance(each, _ABSENT)), None)

    def _image(self, value: Any, composed: Composed) -> str | None:
        if value is None:
            return (self.around.profile.image if self.around.profile else None) or self.spec.image
        if not isinstance(value, str):
            raise _wrong(composed, "image", value, "expected text")
        return value

    def _nodes(self, value: Any, composed: Composed) -> int:
        value = self.spec.resources.nodes if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise _wrong(composed, "nodes", value, "expected a whole number from 1 on")
        return value

    def _gpus(self, value: Any, composed: Composed) -> int | None:
        """What the specification gives unasked is for torchrun: other recipes need none until they say so."""
        wanted = "resources.gpus_per_node" in self.spec.stated or self.spec.run.launch == "torchrun"
        if value is None and wanted:
            value = self.spec.resources.gpus_per_node
        if value in ("gpu", "all", -1):
            return -1
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            remedy = "expected a whole number from 0 on, or 'gpu' for all of a node"
            raise _wrong(composed, "gpus_per_node", value, remedy)
        return value


def _with_field(execution: dict[str, Any], composed: Composed) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`execution` with mounts and variables of the field's `run.env`, and what of that is not read."""
    own = composed.run.get("env")
    made, warnings = dict(execution), []
    for key, value in (own if isinstance(own, Mapping) else {}).items():
        if key in _MOUNTS and isinstance(value, list):
            others = made.get("mounts") or []
            made["mounts"] = [*value, *(each for each in others if each not in value)]
        elif key in _VARIABLES and isinstance(value, Mapping):
            given = {name: str(each) for name, each in value.items()}
            if key == "env":
                given = {name: _literal(name, text) for name, text in given.items()}
            made["env_vars"] = {**given, **(made.get("env_vars") or {})}
        elif not any(key in spelt for spelt in _SPELT.values()):
            where = composed.source(["run", "env", key])
            warnings.append(
                f"run.env.{key} ({where}) is not read here: say execution.{key}, or put it into a profile"
            )
    return made, tuple(warnings)


def _literal(name: str, text: str) -> str:
    """A plain text is the value itself, which must be no secret."""
    if text.startswith(_KINDS):
        return text
    if SECRET_NAME.search(name):
        # Nothing of it is repeated: it may be the secret itself.
        problem = f"run.env.env.{name}: a secret stands here by name only: host:{name} or runtime:{name}"
        raise InvalidInput("the configuration has mistakes:", [problem])
    return f"lit:{text}"


def _knows(backend: Any, setting: str) -> bool:
    execution = model_for(str(backend)).model_fields["execution"].annotation
    return setting in getattr(execution, "model_fields", {})


def _at(data: Mapping[Any, Any], path: tuple[Any, ...]) -> Mapping[str, Any]:
    found: Any = data
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _mapping(value: Any, name: str, composed: Composed) -> dict[str, Any]:
    if isinstance(value, dict):
        return dict(value)
    where = composed.source([name])
    problem = f"{name} ({where}): expected a mapping, got {value!r:.80}"
    raise InvalidInput("the configuration has mistakes:", [problem])


def _wrong(composed: Composed, key: str, value: Any, remedy: str) -> InvalidInput:
    where = composed.source(["execution", key])
    return InvalidInput(
        "the configuration has mistakes:", [f"execution.{key} ({where}): {remedy}, got {value!r:.80}"]
    )
