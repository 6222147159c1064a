"""Choosing tasks: by name, by `harness.name`, and by filters. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from catalog.errors import NotFound, UsageError
from catalog.models import Catalog, Harness, Task
from catalog.nearest import near

# What stands for "says nothing", so that missing metadata can be asked for like any other value.
UNKNOWN = "unknown"
NONE = "none"
# The framework definition format's old name of an endpoint type.
_ENDPOINT_SYNONYMS = {"vlm": "chat"}
_NEAR = 5
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Listed:
    """A task with the harness that holds it."""

    harness: Harness
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Values of one filter are alternatives, different filters must all hold, an empty one means everything.
    `unknown` matches tasks without an endpoint type or images without an architecture, `none` tasks that need
    no capability. Every word must occur somewhere in a task's or its harness's texts, in any case."""

    harnesses: Sequence[str] = ()
    endpoints: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    architectures: Sequence[str] = ()
    words: Sequence[str] = ()

    def accepts(self, harness: Harness, task: Task) -> bool:
        return (
            _any_of(self.endpoints, [_ENDPOINT_SYNONYMS.get(e, e) for e in task.endpoint_types] or [UNKNOWN])
            and _any_of(self.capabilities, task.capabilities or (NONE,))
            and self.accepts_harness(harness)
            and _has_words(
                self.words, task.name, task.title, task.description, harness.name, harness.full_name
            )
        )

    def accepts_harness(self, harness: Harness) -> bool:
        """Only the filters that concern the harness itself."""
        return (not self.harnesses or harness.name in self.harnesses) and _any_of(
            self.architectures, harness.image.architectures or (UNKNOWN,)
        )


def _any_of(wanted: Sequence[str], given: Sequence[str]) -> bool:
    return not wanted or any(_ENDPOINT_SYNONYMS.get(value, value) in given for value in wanted)


def _has_words(words: Sequence[str], *texts: str | None) -> bool:
    if not words:
        return True
    text = "\n".join(part for part in texts if part).casefold()
    return all(word.casefold() in text for word in words)


def select_tasks(catalog: Catalog, filters: Filters) -> list[Listed]:
    """In the catalog's order. Raises NotFound for a harness that doesn't exist."""
    _known_harnesses(catalog, filters.harnesses)
    return [
        Listed(harness, task)
        for harness in catalog.harnesses
        for task in harness.tasks
        if filters.accepts(harness, task)
    ]


def select_harnesses(catalog: Catalog, filters: Filters) -> list[Harness]:
    """Those that hold a task which the filters accept; without filters on tasks also those that hold none."""
    _known_harnesses(catalog, filters.harnesses)
    chosen = [harness for harness in catalog.harnesses if filters.accepts_harness(harness)]
    if not (filters.endpoints or filters.capabilities):
        return [
            harness
            for harness in chosen
            if _has_words(filters.words, harness.name, harness.full_name, harness.description)
            or any(filters.accepts(harness, task) for task in harness.tasks)
        ]
    return [harness for harness in chosen if any(filters.accepts(harness, task) for task in harness.tasks)]


def _known_harnesses(catalog: Catalog, names: Iterable[str]) -> None:
    for name in names:
        find_harness(catalog, name)


def find_harness(catalog: Catalog, name: str) -> Harness:
    """Raises NotFound with what it could have been."""
    found = catalog.harness(name)
    if found is None:
        raise _not_found("harness", name, [harness.name for harness in catalog.harnesses], "harnesses")
    return found


def find_task(catalog: Catalog, wanted: str) -> Listed:
    """`harness.name`, or a name that only one harness knows. Raises NotFound with suggestions, and UsageError
    with the candidates for a name that several know."""
    listed = [Listed(harness, task) for harness in catalog.harnesses for task in harness.tasks]
    by_id = [one for one in listed if one.task.id == wanted]
    if by_id:
        return by_id[0]
    by_name = [one for one in listed if one.task.name == wanted]
    if len(by_name) == 1:
        return by_name[0]
    if by_name:
        raise UsageError(
            f"{len(by_name)} harnesses have a task {wanted!r}",
            hint=f"name one: {_listing([one.task.id for one in by_name])}",
        )
    names = [one.task.id for one in listed] if "." in wanted else _names(listed)
    raise _not_found("task", wanted, names, "tasks")


def _names(listed: Sequence[Listed]) -> list[str]:
    return list(dict.fromkeys(one.task.name for one in listed))


def _not_found(what: str, wanted: str, known: Sequence[str], command: str) -> NotFound:
    likely = suggestions(wanted, known)
    hint = f"did you mean {_listing(likely)}?" if likely else f"`evaldock ls {command}` lists them"
    return NotFound(f"no {what} named {wanted!r}", hint=hint)


def suggestions(wanted: str, known: Sequence[str]) -> list[str]:
    """At most five known names, the likeliest first: similar ones, then those that contain it."""
    found = dict.fromkeys(near(wanted, known, limit=_NEAR))
    if len(wanted) > 2:
        found |= dict.fromkeys(name for name in known if wanted.casefold() in name.casefold())
    return list(found)[:_NEAR]


def _listing(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`, and with more than ten how many they are."""
    if len(names) > _LISTED:
        return f"{', '.join(names[:_LISTED])} or one of {len(names) - _LISTED} more"
    return " or ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])
