"""Does what stands in a catalog's folder still belong together? Offline: nothing but that folder is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog import mapping as mapping_file
from catalog import store
from catalog.errors import InvalidInput, NotFound
from catalog.findings import Finding, Severity
from catalog.index import mapping_data
from catalog.mapping import Mapping
from catalog.models import Catalog, Entry, EntryState, MappingEntry

_LINE = re.compile(r"line (\d+): ")


def check(root: Path) -> tuple[Finding, ...]:
    """Everything about the catalog at `root` that is not as `evaldock sync` leaves it; errors first, otherwise
    in the order of mapping.toml."""
    try:
        mapping = mapping_file.read(root / store.MAPPING)
    except InvalidInput as error:
        return tuple(_in_mapping("mapping-invalid", Severity.ERROR, each) for each in error.problems)
    except NotFound as error:
        hint = error.hint
        return (_finding(Severity.ERROR, "mapping-missing", error.message, store.MAPPING, hint=hint),)
    catalog, found = store.inspect(root)
    entries = [*_entries(mapping, catalog)]
    findings = [
        *(_in_mapping("mapping-unknown-key", Severity.WARNING, each) for each in mapping.warnings),
        # That the file changed is said better by what changed in it.
        *(each for each in found if each.code != "mapping-changed" or not any(map(_explains, entries))),
        *entries,
        *_unnamed(root),
    ]
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def _entries(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    known = {entry.mapping.key: entry for entry in catalog.entries}
    for wanted in mapping.entries:
        entry = known.pop(wanted.key, None)
        if entry is None:
            message = f"entry {wanted.key!r} is not in the IR"
            yield _at(mapping, wanted, "container", Severity.ERROR, "entry-added", message)
        else:
            yield from _changed(mapping, wanted, entry)
            yield from _state(mapping, wanted, entry)
    for key in known:
        message = f"entry {key!r} is in the IR, but no longer in mapping.toml"
        yield _finding(Severity.ERROR, "entry-removed", message, store.INDEX, hint=store.SYNC_HINT)


def _changed(mapping: Mapping, wanted: MappingEntry, entry: Entry) -> Iterator[Finding]:
    now, then = mapping_data(wanted), mapping_data(entry.mapping)
    for field in mapping_file.FIELDS:
        if now.get(field) != then.get(field):
            message = f"{field} of {wanted.key!r} is {_shown(now, field)}, the IR was read for {_shown(then, field)}"
            yield _at(mapping, wanted, field, Severity.ERROR, "entry-changed", message)


def _state(mapping: Mapping, wanted: MappingEntry, entry: Entry) -> Iterator[Finding]:
    key = wanted.key
    if entry.state is EntryState.STALE:
        kept = "its last good IR stands" if entry.harnesses else "nothing is known of it"
        message = f"the last read of {key!r} failed ({entry.reason or 'no reason given'}); {kept}"
        yield _at(mapping, wanted, "container", Severity.ERROR, "entry-stale", message)
    elif entry.state is EntryState.IMPORTED:
        message = f"{key!r} was imported; its image was never read"
        yield _at(mapping, wanted, "container", Severity.WARNING, "entry-imported", message)
    elif not entry.harnesses:
        message = f"the image of {key!r} holds no harness"
        yield _at(mapping, wanted, "container", Severity.WARNING, "entry-empty", message)
    elif entry.image is not None and not entry.image.complete:
        message = f"not every layer of {key!r} was read; one of them could hold more"
        hint = f"`evaldock sync {key} --complete` reads them all"
        yield _at(mapping, wanted, "container", Severity.NOTE, "entry-incomplete", message, hint)


def _unnamed(root: Path) -> Iterator[Finding]:
    index, _ = store.read_index(root)
    named = {file.file for file in index.files} if index is not None else set()
    for path in sorted((root / store.IR).glob("*")) if index is not None else ():
        if path.suffix in (".yaml", ".yml", ".json") and path.name not in named | {"index.yaml"}:
            message = "the index doesn't know this file; nothing reads it"
            place = f"{store.IR}/{path.name}"
            yield _finding(
                Severity.ERROR, "ir-unnamed", message, place, hint="remove it, or move it elsewhere"
            )


def _explains(finding: Finding) -> bool:
    return finding.code in ("entry-added", "entry-removed", "entry-changed")


def _shown(table: dict[str, Any], field: str) -> str:
    return repr(table[field]) if field in table else "not given"


def _at(
    mapping: Mapping,
    entry: MappingEntry,
    field: str,
    severity: Severity,
    code: str,
    message: str,
    hint: str = store.SYNC_HINT,
) -> Finding:
    line = mapping.lines.get((entry.key, field)) or mapping.lines.get((entry.key,)) or entry.line or None
    return _finding(severity, code, message, store.MAPPING, line=line, hint=hint)


def _in_mapping(code: str, severity: Severity, problem: str) -> Finding:
    """A line of the mapping reader, with its number taken out of the text."""
    found = _LINE.match(problem)
    line = int(found[1]) if found else None
    return _finding(severity, code, problem[found.end() :] if found else problem, store.MAPPING, line=line)


def _finding(
    severity: Severity,
    code: str,
    message: str,
    file: str,
    *,
    line: int | None = None,
    hint: str | None = None,
) -> Finding:
    return Finding(severity=severity, code=code, message=message, file=file, line=line, hint=hint)
