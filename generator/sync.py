"""mapping.toml → digests → framework files → IR: what `evaldock sync` does.

An entry whose image is still the one on record keeps its IR without being read. One that fails keeps its last
good IR and stands as stale. What is written is decided when everything has been read, under a lock that makes
two syncs of one catalog follow one another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from catalog import mapping as mapping_file
from catalog import store
from catalog.console import note, one_line
from catalog.difference import Difference, compare
from catalog.errors import EvaldockError, Refused
from catalog.mapping import Mapping
from catalog.models import Entry, EntryState, MappingEntry
from catalog.references import Digest, ImageRef
from catalog.writing import Written, plan, write
from generator.answer import ReadAnswer
from generator.harvest import harvest
from generator.images.open import open_image
from generator.images.source import Cost
from generator.parallel import in_parallel
from generator.reading import read_image
from generator.recorded import Recorded

_LONGEST_REASON = 500


class Result(StrEnum):
    READ = "read"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    KEPT = "kept"  # not asked for
    REMOVED = "removed"  # no longer in mapping.toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an entry. `entry` is what the index will hold (of a removed one, what it held)."""

    key: str
    result: Result
    entry: Entry
    difference: Difference = field(default_factory=Difference)
    warnings: tuple[str, ...] = ()
    error: EvaldockError | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`keys`: the entries to read; none means all of them."""

    keys: tuple[str, ...] = ()
    complete: bool = False
    strict: bool = False
    jobs: int = 8
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """`outcomes` in the order of mapping.toml, removed entries last. `changed` and `removed` are files,
    relative to the catalog. `cost` is that of all reads."""

    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    cost: Cost

    @property
    def failures(self) -> tuple[EvaldockError, ...]:
        return tuple(outcome.error for outcome in self.outcomes if outcome.error is not None)


@dataclass(frozen=True, slots=True)
class _Image:
    """What there is to read once, however many entries name it."""

    ref: ImageRef
    platform: str | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """`answer` is None when nothing but the digest had to be asked for."""

    digest: Digest
    answer: ReadAnswer | None
    cost: Cost


Report = Callable[[str], None]


def sync(
    root: Path, options: Options, progress: Callable[[int], contextlib.AbstractContextManager[Report]]
) -> Synced:
    """Reads what has to be read and writes the IR. `progress` is given the number of entries to read and
    gives what is called with a line when one of them is done.

    Raises InvalidInput for a mapping.toml with mistakes, NotFound for an entry that it doesn't have,
    UsageError when two entries hold a harness of one name, and Refused when an IR that somebody edited can
    neither be kept nor read anew. Whatever is raised, nothing was written.
    """
    with _only_sync(root):
        mapping = mapping_file.read(root / store.MAPPING)
        chosen = [mapping.entry(key) for key in dict.fromkeys(options.keys)] or list(mapping.entries)
        recorded = Recorded.load(root)
        with progress(len(chosen)) as report:
            outcomes, cost = _read_all(mapping, chosen, recorded, options, report)
        outcomes += _not_chosen(mapping, {entry.key for entry in chosen}, recorded, whole=not options.keys)
        order = [entry.key for entry in mapping.entries]
        outcomes.sort(key=lambda one: order.index(one.key) if one.key in order else len(order))
        written = _write(root, _mapping_sha256(mapping, outcomes, recorded), outcomes, options)
    return Synced(
        outcomes=tuple(outcomes),
        warnings=mapping.warnings,
        changed=written.changed,
        removed=written.removed,
        cost=cost,
    )


def _write(root: Path, mapping_sha256: str, outcomes: Sequence[Outcome], options: Options) -> Written:
    entries = [one.entry for one in outcomes if one.result is not Result.REMOVED]
    if options.dry_run:
        plan(mapping_sha256, entries)  # finds conflicts
        return Written(changed=(), removed=())
    try:
        return write(root, mapping_sha256, entries)
    except OSError as error:
        raise Refused(f"the IR can't be written: {error.strerror or error}", place=str(root)) from None


@contextlib.contextmanager
def _only_sync(root: Path) -> Iterator[None]:
    """Holds a lock on the catalog's folder itself, so that no lock file is left behind."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("another sync of this catalog is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read_all(
    mapping: Mapping, chosen: Sequence[MappingEntry], recorded: Recorded, options: Options, report: Report
) -> tuple[list[Outcome], Cost]:
    groups: dict[_Image, list[MappingEntry]] = {}
    for entry in chosen:
        groups.setdefault(_Image(mapping.image(entry), entry.platform), []).append(entry)
    images = list(groups)
    work = [partial(_look, image, _known(groups[image], recorded, options), options) for image in images]
    outcomes: list[Outcome] = []
    cost = Cost()
    for position, seen in in_parallel(work, options.jobs):
        if isinstance(seen, _Seen):
            cost.requests += seen.cost.requests
            cost.bytes += seen.cost.bytes
        for entry in groups[images[position]]:
            outcome = _outcome(mapping, entry, seen, recorded, options)
            outcomes.append(outcome)
            report(_line(outcome))
    return outcomes, cost


def _known(entries: Sequence[MappingEntry], recorded: Recorded, options: Options) -> Digest | None:
    """The digest for which nothing needs to be read: all of them are on record with it."""
    digests = {_reusable(entry, recorded, options) for entry in entries}
    return digests.pop() if len(digests) == 1 else None


def _reusable(entry: MappingEntry, recorded: Recorded, options: Options) -> Digest | None:
    """The digest of the image whose IR can be kept."""
    before = recorded.entries.get(entry.key)
    if (
        before is None
        or before.image is None
        or not before.harnesses
        # Imported from another tool's file: nobody here has seen what the image holds.
        or not all(harness.sources for harness in before.harnesses)
        or before.mapping.platform != entry.platform
        or entry.key in recorded.broken
        # Its warnings aren't on record.
        or options.strict
        or (options.complete and not before.image.complete)
    ):
        return None
    return Digest.parse(before.image.digest)


def _look(image: _Image, known: Digest | None, options: Options) -> _Seen:
    """Asks for no more than the digest when the IR of `known` can be kept; else reads the image."""
    if known is None:
        answer = read_image(image.ref, platform=image.platform, complete=options.complete)
        return _Seen(answer.digest, answer, answer.cost)
    digest, cost = image.ref.digest, Cost()
    if digest is None:
        with contextlib.closing(open_image(image.ref)) as source:
            digest, cost = source.head(), source.cost
    if digest == known:
        return _Seen(digest, None, cost)
    answer = read_image(image.ref, platform=image.platform, complete=options.complete, known=digest)
    return _Seen(
        answer.digest, answer, Cost(cost.requests + answer.cost.requests, cost.bytes + answer.cost.bytes)
    )


def _outcome(
    mapping: Mapping, entry: MappingEntry, seen: _Seen | BaseException, recorded: Recorded, options: Options
) -> Outcome:
    before = recorded.entries.get(entry.key)
    had = before.harnesses if before is not None else ()
    try:
        if isinstance(seen, BaseException):
            raise seen
        if before is not None and seen.digest == _reusable(entry, recorded, options):
            after = _same(before, entry)
            return Outcome(
                key=entry.key, result=Result.UNCHANGED, entry=after, difference=compare(had, after.harnesses)
            )
        assert seen.answer is not None  # noqa: S101 # only one that every entry on record could keep isn't read
        found = harvest(entry, seen.answer, strict=options.strict)
    except EvaldockError as error:
        return _failed(mapping, entry, error, recorded)
    after = Entry(mapping=entry, image=found.image, harnesses=found.harnesses)
    return Outcome(
        key=entry.key,
        result=Result.READ,
        entry=after,
        difference=compare(had, after.harnesses),
        warnings=found.warnings,
    )


def _same(before: Entry, entry: MappingEntry) -> Entry:
    """The IR on record, with what mapping.toml says about the entry now."""
    assert before.image is not None  # noqa: S101 # `_reusable` asked
    image = replace(before.image, container=entry.container)
    harnesses = tuple(
        replace(
            harness,
            image=image,
            packages=entry.packages,
            abilities=entry.abilities,
            state=EntryState.CURRENT,
            reason=None,
        )
        for harness in before.harnesses
    )
    return Entry(mapping=entry, image=image, harnesses=harnesses)


def _failed(mapping: Mapping, entry: MappingEntry, error: EvaldockError, recorded: Recorded) -> Outcome:
    reason = _reason(error, mapping.path.parent)
    before = recorded.kept(entry.key)
    if before is None:
        after = Entry(mapping=entry, state=EntryState.STALE, reason=reason)
    else:
        after = replace(before, state=EntryState.STALE, reason=reason)
    return Outcome(key=entry.key, result=Result.FAILED, entry=after, error=error, line=entry.line or None)


def _reason(error: EvaldockError, root: Path) -> str:
    """On one line, and without the name of a folder that only this machine has: it goes into the index."""
    text = one_line(error.message).replace(f"{root.resolve()}{os.sep}", "").replace(f"{root}{os.sep}", "")
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"


def _not_chosen(mapping: Mapping, chosen: set[str], recorded: Recorded, *, whole: bool) -> Iterator[Outcome]:
    """Entries that weren't asked for stay as recorded; a sync of everything drops those that mapping.toml no
    longer has."""
    present = {entry.key for entry in mapping.entries}
    for key, before in recorded.entries.items():
        if whole and key not in present:
            gone = compare(before.harnesses, ())
            yield Outcome(key=key, result=Result.REMOVED, entry=before, difference=gone)
        elif key not in chosen:
            recorded.kept(key)
            yield Outcome(key=key, result=Result.KEPT, entry=before)


def _mapping_sha256(mapping: Mapping, outcomes: Sequence[Outcome], recorded: Recorded) -> str:
    """That of mapping.toml, unless entries that weren't asked for still stand as an older one had them: then
    the IR doesn't belong to this mapping.toml yet, and must not verify with it."""
    wanted = {entry.key: entry for entry in mapping.entries}
    there = {one.key: one for one in outcomes if one.result is not Result.REMOVED}
    up_to_date = wanted.keys() == there.keys() and all(
        one.entry.mapping == wanted[key] for key, one in there.items() if one.result is Result.KEPT
    )
    return mapping.sha256 if up_to_date else recorded.mapping_sha256


def _line(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"{outcome.key}: {outcome.error.message}"
    if outcome.result is Result.UNCHANGED:
        return f"{outcome.key}: unchanged"
    tasks = sum(len(harness.tasks) for harness in outcome.entry.harnesses)
    return f"{outcome.key}: read, {tasks} task{'' if tasks == 1 else 's'}"
