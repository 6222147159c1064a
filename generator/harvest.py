"""From what was read of an image to the harnesses of an entry. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import InvalidInput, NotFound
from catalog.framework import Framework, parse
from catalog.joining import join
from catalog.models import FrameworkSource, Harness, Image, MappingEntry
from generator.answer import ReadAnswer, Status


@dataclass(frozen=True, slots=True)
class Harvest:
    """`warnings` are complete lines."""

    image: Image
    harnesses: tuple[Harness, ...]
    warnings: tuple[str, ...]


def harvest(entry: MappingEntry, answer: ReadAnswer, *, strict: bool = False) -> Harvest:
    """Raises NotFound when there is no framework.yml or could be one in a layer that wasn't read, and
    InvalidInput with every mistake of all files. `strict` makes warnings mistakes."""
    _require_files(entry, answer)
    image = Image(
        container=entry.container,
        digest=str(answer.digest),
        manifest_digest=str(answer.manifest_digest),
        platform=answer.platform,
        platforms=tuple(answer.platforms),
        complete=answer.complete,
    )
    found: list[tuple[Framework, FrameworkSource]] = []
    problems: list[str] = []
    warnings = [f"a layer was left unread: {note}" for note in answer.notes]
    for file in answer.files:
        try:
            framework = parse(file.content, file.path, strict)
        except InvalidInput as error:
            problems += [f"{file.path}: {problem}" for problem in error.problems]
            continue
        warnings += [f"{file.path}: {warning}" for warning in framework.warnings]
        source = FrameworkSource(path=file.path, layer=str(file.layer), sha256=file.sha256)
        found.append((framework, source))
    if problems:
        raise InvalidInput("not a valid framework definition", problems, place=entry.container)
    return Harvest(image, join(entry, image, found), tuple(warnings))


def _require_files(entry: MappingEntry, answer: ReadAnswer) -> None:
    if answer.status is Status.ABSENT:
        raise NotFound(
            "the image holds no framework.yml; all of its layers were read",
            place=entry.container,
            hint="framework.yml belongs below /opt/metadata; `evaldock pack` makes an image with one",
        )
    if answer.status is Status.UNKNOWN:
        why = f" ({'; '.join(answer.notes)})" if answer.notes else ""
        raise NotFound(
            f"no framework.yml in the layers that were read; layers left unread: {len(answer.unread)}{why}",
            place=entry.container,
            hint="`--complete` reads all layers that can be read",
        )
