"""Small catalogs as values, for tests that need no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from catalog.models import Catalog, Entry, Harness, Image, MappingEntry, Task

COMMAND = "run {{target.api_endpoint.url}} {{config.params.top_p}}"


def image(container: str = "registry.example/team/one:1.0", **given: Any) -> Image:
    values: dict[str, Any] = {
        "container": container,
        "digest": "sha256:" + "a" * 64,
        "manifest_digest": "sha256:" + "b" * 64,
        "platform": "linux/amd64",
        "platforms": ("linux/amd64", "linux/arm64"),
    }
    return Image(**{**values, **given})


def task(
    harness: str,
    name: str,
    *,
    description: str | None = None,
    endpoints: Sequence[str] = ("chat",),
    capabilities: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    command: str = COMMAND,
    **given: Any,
) -> Task:
    config: dict[str, Any] = {
        "params": {"top_p": 0.9, "extra": {}, **(params or {})},
        "type": name,
    }
    if endpoints:
        config["supported_endpoint_types"] = list(endpoints)
    if capabilities:
        config["required_capabilities"] = list(capabilities)
    return Task(
        harness=harness,
        name=name,
        description=f"About {name}." if description is None else description,
        defaults={
            "command": command,
            "framework_name": harness,
            "pkg_name": harness,
            "config": config,
            "target": {"api_endpoint": {}},
        },
        **given,
    )


def harness(name: str, tasks: Sequence[Task | str] = (), **given: Any) -> Harness:
    """Tasks given by name are plain ones."""
    made = tuple(task(name, one) if isinstance(one, str) else one for one in tasks)
    commands = {one.command for one in made}
    values: dict[str, Any] = {
        "entry": name,
        "pkg_name": name,
        "image": image(f"registry.example/team/{name}:1.0"),
        "sources": (),
        "command": commands.pop() if len(commands) == 1 else None,
    }
    return Harness(name=name, tasks=made, **{**values, **given})


def catalog(*harnesses: Harness) -> Catalog:
    return Catalog(root="catalog", mapping_sha256="", harnesses=harnesses)


def entry_of(key: str, *harnesses: Harness) -> Entry:
    mapping = MappingEntry(key=key, container=f"registry.example/{key}:1")
    read = image(mapping.container)
    owned = tuple(replace(each, entry=key, image=read) for each in harnesses)
    return Entry(mapping=mapping, image=read, harnesses=owned)
