"""Composes a YAML configuration: its `defaults:` list, the file itself, then `key.path=value` overrides.

`defaults:` holds `_self_` (where the file's own content goes; last when missing), names of other files, and
`group: name` pairs: `group/name.yaml` beside the configuration, else a built-in group. Later ones win.
Interpolations (`${…}`) are OmegaConf's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound, UsageError
from catalog.nearest import did_you_mean, near
from catalog.normal_form import merge
from launcher.configuration.groups import GROUPS
from launcher.configuration.overlay import overlay
from launcher.configuration.resolvers import Context, installed, keep_unknown

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """One file, group or set of overrides, with the name that messages call it by. `places` leads from key
    paths to file and line, where those are known."""

    name: str
    data: Mapping[str, Any]
    places: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def place(self, path: Sequence[str | int]) -> str:
        """Where `path` stands in it, as far as it knows."""
        parts = tuple(map(str, path))
        return next(
            (self.places[parts[:n]] for n in range(len(parts), 0, -1) if parts[:n] in self.places), ""
        )


@dataclass(frozen=True, slots=True)
class Composed:
    """`data` is plain: interpolations resolved. `layers` run from the weakest to the strongest. `run` is what
    stood under `run`: values for `${run.…}`."""

    data: dict[str, Any]
    layers: Sequence[Layer] = field(default=())
    run: Mapping[str, Any] = field(default_factory=dict)

    def strength(self, path: Sequence[str | int]) -> int:
        """The number of the strongest layer that mentions `path`; -1 where none does."""
        found = (at for at, layer in enumerate(self.layers) if _mentions(layer.data, path))
        return max(found, default=-1)

    def source(self, path: Sequence[str | int]) -> str:
        """The strongest layer that mentions `path`, or else the longest part of it that any mentions."""
        for length in range(len(path), 0, -1):
            for layer in reversed(self.layers):
                if _mentions(layer.data, path[:length]):
                    return layer.place(path[:length]) or layer.name
        return self.layers[-1].name if self.layers else "configuration"


def _mentions(data: Any, path: Sequence[str | int]) -> bool:
    for part in path:
        try:
            # An override names an entry of a list by its number, as a key.
            data = data[str(part) if isinstance(data, Mapping) else part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def find(config_dir: Path, name: str) -> Path:
    """`name` or `name.yaml` in `config_dir`; a name with a slash or an ending is a path from there."""
    file = config_dir / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if file.is_file():
        return file
    if not config_dir.is_dir():
        raise NotFound(
            f"no folder {str(config_dir)!r}", hint="--config-dir names the folder of configurations"
        )
    known = sorted(path.stem for path in config_dir.glob("*.y*ml"))
    raise NotFound(
        f"no configuration {name!r} in {config_dir}{did_you_mean(name, known)}",
        hint=f"there are: {', '.join(known) or 'none'}",
    )


def compose(
    file: Path | None,
    overrides: Sequence[str],
    *,
    base: Sequence[Layer] = (),
    profile: Layer | None = None,
    extra: Sequence[Layer] = (),
    context: Context | None = None,
) -> Composed:
    """From weak to strong: `base` layers, the file with its defaults, the profile (see `overlay`), `extra`
    layers (command-line options), the overrides.

    Raises InvalidInput or UsageError for a file that isn't a mapping, an unknown group, a cycle (named as a
    chain), an override without `=`, and an interpolation that can't be resolved; Refused for one that would
    write a secret down.
    """
    from omegaconf import OmegaConf  # noqa: PLC0415 # heavy, and only runs compose
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    context = context or Context()
    own = [*base, *(_expand(file, ()) if file else ())]
    layers = [*own, *([profile] if profile else []), *extra]
    given = [
        (Layer(f"override {text}", _nested(*pair)), pair) for text in overrides for pair in [_override(text)]
    ]
    place = _name(file)
    try:
        with installed(context):
            merged = OmegaConf.merge({}, *[OmegaConf.create(dict(layer.data)) for layer in own])
            laid = overlay(_plain(merged), profile.data if profile else {})
            laid = merge({"run": context.run} if context.run else {}, laid)
            merged = OmegaConf.merge(laid, *[OmegaConf.create(dict(layer.data)) for layer in extra])
            for layer, (key, value) in given:
                place = layer.name
                # By its path, so that a number can name an entry of a list.
                OmegaConf.update(merged, key, value, merge=True, force_add=True)
            place = _name(file)
            unresolved = _plain(merged)
            merged = OmegaConf.create(keep_unknown(unresolved, unresolved.get("run", {})))
            data = OmegaConf.to_container(merged, resolve=True)
    # A mapping laid over a list, a number that is no entry of it.
    except (OmegaConfBaseException, TypeError, IndexError, ValueError) as problem:
        full_key = getattr(problem, "full_key", None)
        _raise_ours(context, Composed({}, layers), full_key)
        where = f" at {full_key}" if full_key else ""
        first = str(problem).splitlines()[0]
        raise InvalidInput("the configuration can't be composed:", [f"{first}{where}"], place=place) from None
    layers.extend(layer for layer, _ in given)
    if not isinstance(data, dict):
        raise UsageError("a configuration must be a mapping", place=_name(file))
    plain = {str(key): value for key, value in data.items()}
    run = plain.pop("run", {})
    return Composed(plain, tuple(layers), run if isinstance(run, dict) else {})


def _plain(merged: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf  # noqa: PLC0415

    data = OmegaConf.to_container(merged, resolve=False)
    if not isinstance(data, dict):
        raise UsageError("a configuration must be a mapping")
    return {str(key): value for key, value in data.items()}


def _raise_ours(context: Context, composed: Composed, key: str | None) -> None:
    """What a resolver said, with the place of the value that asked it."""
    error = context.error
    if error is None:
        return
    if key:
        path = [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", key)]
        own = f": {error.place}" if error.place else ""
        error.place = f"{key} ({composed.source(path)}){own}"
    raise error from None


def _expand(file: Path, chain: tuple[Path, ...]) -> Iterator[Layer]:
    resolved = file.resolve()
    if resolved in chain:
        names = " → ".join(path.name for path in (*chain[chain.index(resolved) :], resolved))
        raise UsageError(f"a cycle in defaults: {names}", place=str(file))
    data = _read(file)
    listed = data.pop("defaults", [])
    if not isinstance(listed, list):
        raise UsageError("defaults must be a list", place=f"{file}: defaults")
    own = Layer(str(file), data)
    if "_self_" not in listed:
        listed = [*listed, "_self_"]
    for index, entry in enumerate(listed):
        place = f"{file}: defaults[{index}]"
        if entry == "_self_":
            yield own
        elif isinstance(entry, str):
            yield from _expand(find(file.parent, entry), (*chain, resolved))
        elif isinstance(entry, dict) and len(entry) == 1:
            ((group, name),) = entry.items()
            yield from _group(file.parent, str(group), str(name), place, (*chain, resolved))
        else:
            raise UsageError("expected a name, _self_ or one `group: name` pair", place=place)


def _group(folder: Path, group: str, name: str, place: str, chain: tuple[Path, ...]) -> Iterator[Layer]:
    file = folder / group / f"{name}.yaml"
    if file.is_file():
        for layer in _expand(file, chain):
            yield Layer(layer.name, {group: layer.data})
        return
    built_in = GROUPS.get(group, {})
    if name in built_in:
        yield Layer(f"{group}/{name} (built in)", {group: dict(built_in[name])})
        return
    if not built_in:
        likely = near(group, GROUPS)
        hint = f"did you mean {likely[0]!r}?" if likely else f"built-in groups: {', '.join(GROUPS)}"
        raise UsageError(f"no group {group!r}: there is no folder {group}/ either", place=place, hint=hint)
    raise UsageError(
        f"no {group} named {name!r}{did_you_mean(name, built_in)}",
        place=place,
        hint=f"built in: {', '.join(built_in)}; or write {group}/{name}.yaml",
    )


def _read(file: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 # only where a file is read

    data = file.read_bytes()
    if len(data) > MAX_BYTES:
        raise UsageError(f"larger than {MAX_BYTES} bytes", place=str(file))
    try:
        loaded = yaml.load(data, Loader=yaml.CSafeLoader)  # the C form of the safe loader
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"not YAML: {getattr(problem, 'problem', problem)}", place=f"{file}{line}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UsageError("a configuration must be a mapping", place=str(file))
    return loaded


def _override(text: str) -> tuple[str, Any]:
    """`a.b.c=value`: the value is YAML, so numbers, lists and null keep their types. A leading `+` or `++`,
    which other tools need for new keys, is allowed and means nothing."""
    import yaml  # noqa: PLC0415

    key, equals, value = text.lstrip("+").partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UsageError(f"not an override: {text!r}", hint="expected key.path=value")
    try:
        parsed: Any = yaml.load(value, Loader=yaml.CSafeLoader)  # the C form of the safe loader
    except yaml.YAMLError:
        parsed = value
    return key.strip(), parsed


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _name(file: Path | None) -> str:
    return str(file) if file else "command line"
