"""From the framework files of one image to the harnesses of one entry."""

from __future__ import annotations

from collections.abc import Iterable

from catalog.errors import InvalidInput
from catalog.framework import Framework
from catalog.models import FrameworkSource, Harness, Image, MappingEntry


def join(
    entry: MappingEntry, image: Image, found: Iterable[tuple[Framework, FrameworkSource]]
) -> tuple[Harness, ...]:
    """One harness per framework file, by name; a file that stands at several paths counts once, with all its
    paths as sources. Raises InvalidInput when files that differ declare one harness."""
    frameworks: dict[str, Framework] = {}
    sources: dict[str, list[FrameworkSource]] = {}
    problems: list[str] = []
    for framework, source in sorted(found, key=lambda each: each[1].path):
        known = sources.setdefault(framework.name, [])
        if known and known[0].sha256 != source.sha256:
            problems.append(f"harness {framework.name!r} stands in {known[0].path} and in {source.path}")
        frameworks.setdefault(framework.name, framework)
        known.append(source)
    if problems:
        raise InvalidInput("an image must not declare a harness twice", problems, place=entry.container)
    return tuple(
        _harness(entry, image, frameworks[name], tuple(sources[name])) for name in sorted(frameworks)
    )


def _harness(
    entry: MappingEntry, image: Image, framework: Framework, sources: tuple[FrameworkSource, ...]
) -> Harness:
    definition = framework.definition
    return Harness(
        name=definition.name,
        entry=entry.key,
        pkg_name=definition.pkg_name,
        image=image,
        sources=sources,
        tasks=definition.tasks,
        full_name=definition.full_name,
        description=definition.description,
        url=definition.url,
        command=definition.command,
        packages=entry.packages,
        abilities=entry.abilities,
        other=definition.other,
    )
