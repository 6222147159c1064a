"""Which registry is used here, and what `${art:…}` stands for.

EVALDOCK_ARTIFACTS names the registry (a folder, a URL that fsspec knows, or wandb://ENTITY/PROJECT), else the
`[artifacts]` section of env.toml does, else it is a folder of this user.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.errors import Refused, UsageError
from catalog.nearest import did_you_mean
from launcher.artifacts.names import SCHEME, ArtifactRef
from launcher.artifacts.registry import Registry
from launcher.artifacts.store import Store
from launcher.artifacts.versions import Artifacts
from launcher.profiles import env_file

VARIABLE = "EVALDOCK_ARTIFACTS"
_WANDB = "wandb://"
_KEYS = ("backend", "root", "options")
FIELDS = ("path", "uri", "name", "version", "type", "digest")


def open_registry(environ: Mapping[str, str] = os.environ) -> Artifacts:
    """Raises UsageError for a section of env.toml with mistakes, or a place that can't be one."""
    url, options = location(environ)
    if url.startswith(_WANDB):
        from launcher.artifacts.wandb import WandbRegistry  # noqa: PLC0415 # an extra

        return WandbRegistry(url.removeprefix(_WANDB))
    return Registry(Store(url, options))


def open_to_publish(environ: Mapping[str, str] = os.environ) -> Registry:
    """As `open_registry`. Raises Refused for one that is only read here."""
    registry = open_registry(environ)
    if not isinstance(registry, Registry):
        name = f"{registry.place.removeprefix(_WANDB)}/NAME"
        raise Refused(
            f"{registry.place} is read-only here",
            hint=f"`wandb artifact put --name {name} PATH` publishes there",
        )
    return registry


def location(environ: Mapping[str, str] = os.environ) -> tuple[str, Mapping[str, Any]]:
    """The registry's URL and the options of its file system."""
    if chosen := environ.get(VARIABLE):
        return chosen if "://" in chosen else _absolute(Path(), chosen), {}
    found = env_file.load(environ)
    section = found.section("artifacts") if found else {}
    if found is None or not section:
        home = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        return f"{home}/evaldock/artifacts", {}
    place = found.place(("artifacts",))
    for key in section:
        if key not in _KEYS:
            raise UsageError(f"artifacts.{key}: unknown key{did_you_mean(key, _KEYS)}", place=place)
    backend, root, options = section.get("backend", "file"), section.get("root"), section.get("options", {})
    if not isinstance(backend, str) or not isinstance(root, str) or not root:
        raise UsageError("artifacts: `backend` and `root` must be texts, and root is needed", place=place)
    if not isinstance(options, Mapping):
        raise UsageError("artifacts.options: expected a table", place=place)
    if backend == "file":
        # Relative to env.toml, wherever the command is given.
        return _absolute(found.path.parent, root.removeprefix("file://")), options
    return (root if "://" in root else f"{backend}://{root}"), options


def _absolute(folder: Path, path: str) -> str:
    """Links stay as they are: other machines may have them, and not what they lead to here."""
    return os.path.abspath(folder / Path(path).expanduser())  # noqa: PTH100 # resolve() follows links


def resolve(name: str, field: str | None = None, *, environ: Mapping[str, str] = os.environ) -> str:
    """What `${art:NAME[:VERSION][/PATH][,FIELD]}` stands for: where it lies (a path, or a URL where the
    registry is no folder), or another of FIELDS; always of one certain version.

    Raises UsageError for an unknown field, ArtifactNotFound and VersionNotFound with what is near.
    """
    wanted = field or "path"
    if wanted not in FIELDS:
        near = did_you_mean(wanted, FIELDS)
        raise UsageError(f"an artifact has no {wanted!r}{near}", hint=f"there are: {', '.join(FIELDS)}")
    registry, ref = open_registry(environ), ArtifactRef.parse(name)
    version = registry.find(ref)
    version.below(ref.path)
    match wanted:
        case "path":
            return registry.address(version, ref.path)
        case "uri":
            return f"{SCHEME}{version}" + (f"/{ref.path}" if ref.path else "")
        case "digest":
            file = version.files.get(ref.path)
            return file.checksum.partition(":")[2] if file else version.digest
        case "version":
            return f"v{version.number}"
        case "type":
            return version.type
        case _:
            return version.name
