"""The compiled configuration of a recipe: its YAML, the profile, what the command line overrides.

`execution` and `deployment` say how the recipe is run, by the same settings as for tasks; everything else is
the recipe's own and reaches it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import InvalidInput, NotFound
from launcher.configuration.compose import Composed, Layer, compose, find
from launcher.configuration.model import RunConfig, model_for, validate
from launcher.configuration.resolvers import Context
from launcher.recipes.runspec import Runspec

if TYPE_CHECKING:
    from launcher.profiles import Profile

# Parts of a profile that mean something to a recipe.
_FROM_PROFILE = ("execution", "deployment", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """`config` is what the recipe gets, `how` the settings it is run by. `gpus` is a count on each node (-1:
    all), None where nobody asked for any."""

    config: Mapping[str, Any]
    how: RunConfig
    image: str | None
    nodes: int
    gpus: int | None


def compile_recipe(
    spec: Runspec,
    name: str | None,
    overrides: Sequence[str],
    *,
    profile: Profile | None = None,
    layers: Sequence[Layer] = (),
    context: Context | None = None,
) -> Compiled:
    """`name` is a configuration in the recipe's folder, or a path where it has a slash or ends in .yaml.
    `layers` come between profile and overrides; `context` is what interpolations reach.

    Raises NotFound, and UsageError or InvalidInput with what is wrong in it.
    """
    composed = compose(
        configuration_file(spec, name),
        overrides,
        profile=_of_profile(profile) if profile else None,
        extra=layers,
        context=context,
    )
    data = dict(composed.data)
    execution = _mapping(data.pop("execution", {}), "execution", composed)
    deployment = _mapping(data.pop("deployment", {}), "deployment", composed)
    asked = _asked(composed, execution)
    image = str(asked["image"]) if "image" in asked else (profile.image if profile else None) or spec.image
    execution.setdefault("type", "docker" if image else "process")
    execution |= {name: value for name, value in asked.items() if _has(execution, name)}
    how = validate(Composed({"execution": execution, "deployment": deployment}, composed.layers))
    return Compiled(
        config=data,
        how=how,
        image=image,
        nodes=_nodes(asked.get("nodes", spec.resources.nodes), composed),
        gpus=_gpus(spec, asked.get("gpus_per_node"), composed),
    )


def _asked(composed: Composed, execution: dict[str, Any]) -> dict[str, Any]:
    """Image, nodes and GPUs as the configuration asks for them, taken out of `execution`. The field's own
    spelling, under `run.env`, counts as the YAML's: it wins over a profile, and an override over it."""
    own = composed.run.get("env")
    own = own if isinstance(own, Mapping) else {}
    asked = {}
    for name, others in _SPELT.items():
        found = [execution.pop(each) for each in (name, *others) if execution.get(each) is not None]
        theirs = [own[each] for each in (name, *others) if own.get(each) is not None]
        overridden = any(_overrides(layer, each) for layer in composed.layers for each in (name, *others))
        values = [*found, *theirs] if overridden else [*theirs, *found]
        if values:
            asked[name] = values[0]
    return asked


def _overrides(layer: Layer, name: str) -> bool:
    said = layer.data.get("execution")
    return layer.name.startswith("override ") and isinstance(said, Mapping) and name in said


def _has(execution: Mapping[str, Any], name: str) -> bool:
    """Whether the backend has that setting itself."""
    fields = model_for(str(execution["type"])).model_fields["execution"].annotation
    return name in getattr(fields, "model_fields", {})


# Settings of `execution` that recipes have on every backend, and other names of theirs.
_SPELT: Mapping[str, tuple[str, ...]] = {
    "image": ("container", "container_image"),
    "nodes": (),
    "gpus_per_node": ("gpus",),
}


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


def _of_profile(profile: Profile) -> Layer:
    layer = profile.layer
    data = {part: layer.data[part] for part in _FROM_PROFILE if part in layer.data}
    return Layer(layer.name, data, layer.places)


def _nodes(value: Any, composed: Composed) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(composed, "nodes", value, "expected a whole number from 1 on")
    return value


def _gpus(spec: Runspec, value: Any, composed: Composed) -> int | None:
    """What the specification gives unasked is for torchrun: other recipes need none until they say so."""
    if value is None and ("resources.gpus_per_node" in spec.stated or spec.run.launch == "torchrun"):
        value = spec.resources.gpus_per_node
    if value in ("gpu", "all", -1):
        return -1
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise _wrong(composed, "gpus_per_node", value, "expected a whole number from 0 on, or 'gpu' for all")
    return value


def _mapping(value: Any, name: str, composed: Composed) -> dict[str, Any]:
    if isinstance(value, dict):
        return dict(value)
    where = composed.source([name])
    raise InvalidInput(
        "the configuration has mistakes:", [f"{name} ({where}): expected a mapping, got {value!r:.80}"]
    )


def _wrong(composed: Composed, key: str, value: Any, remedy: str) -> InvalidInput:
    where = composed.source(["execution", key])
    return InvalidInput(
        "the configuration has mistakes:", [f"execution.{key} ({where}): {remedy}, got {value!r:.80}"]
    )
