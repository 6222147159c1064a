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

_LINE = re.compile(r"line (\d+): |.*\(at line (\d+),", re.DOTALL)


def check(root: Path) -> tuple[Finding, ...]:
    """All about the catalog at `root` that is not as `evaldock sync` leaves it; errors first, otherwise in
    the order of mapping.toml."""
    try:
        mapping = mapping_file.read(root / store.MAPPING)
    except InvalidInput as error:
        return tuple(_in_mapping("mapping-invalid", Severity.ERROR, each) for each in error.problems)
    except NotFound as error:
        hint = error.hint
        return (_finding(Severity.ERROR, "mapping-missing", error.message, store.MAPPING, hint=hint),)
    catalog, found = store.inspect(root)
    index, _ = store.read_index(root)
    files = {} if index is None else {each.entry.mapping.key: each.files for each in index.entries}
    entries = [*_entries(mapping, catalog, holding={key for key in files if files[key]})]
    findings = [
        *(_in_mapping("mapping-unknown-key", Severity.WARNING, each) for each in mapping.warnings),
        # That the file changed is said better by what changed in it.
        *(each for each in found if each.code != "mapping-changed" or not any(map(_explains, entries))),
        *entries,
        *(() if index is None else _unnamed(root, {file.file for file in index.files})),
    ]
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def _entries(mapping: Mapping, catalog: Catalog, holding: set[str]) -> Iterator[Finding]:
    """`holding` are the keys of the entries that have IR files, readable or not."""
    known = {entry.mapping.key: entry for entry in catalog.entries}
    for wanted in mapping.entries:
        entry = known.pop(wanted.key, None)
        if entry is None:
            message = f"entry {wanted.key!r} is not in the IR"
            yield _at(mapping, wanted, Severity.ERROR, "entry-added", message)
        else:
            yield from _changed(mapping, wanted, entry)
            yield from _state(mapping, wanted, entry, empty=wanted.key not in holding)
    for key in known:
        message = f"entry {key!r} is in the IR, but no longer in mapping.toml"
        yield _finding(Severity.ERROR, "entry-removed", message, store.INDEX, hint=store.SYNC_HINT)


def _changed(mapping: Mapping, wanted: MappingEntry, entry: Entry) -> Iterator[Finding]:
    now, then = mapping_data(wanted), mapping_data(entry.mapping)
    for field in mapping_file.FIELDS:
        if now.get(field) != then.get(field):
            was, is_now = _shown(then, field), _shown(now, field)
            message = f"{field} of {wanted.key!r} is {is_now}, the IR was read for {was}"
            yield _at(mapping, wanted, Severity.ERROR, "entry-changed", message, field=field)


def _state(mapping: Mapping, wanted: MappingEntry, entry: Entry, *, empty: bool) -> Iterator[Finding]:
    key = wanted.key
    if entry.state is EntryState.STALE:
        kept = "nothing is known of it" if empty else "its last good IR stands"
        message = f"the last read of {key!r} failed ({entry.reason or 'no reason given'}); {kept}"
        yield _at(mapping, wanted, Severity.ERROR, "entry-stale", message)
    elif entry.state is EntryState.IMPORTED:
        message = f"{key!r} was imported; its image was never read"
        yield _at(mapping, wanted, Severity.WARNING, "entry-imported", message)
    elif empty:
        message = f"the image of {key!r} holds no harness"
        yield _at(mapping, wanted, Severity.WARNING, "entry-empty", message)
    elif entry.image is not None and not entry.image.complete:
        message = f"not every layer of {key!r} was read; one of them could hold more"
        hint = f"`evaldock sync {key} --complete` reads them all"
        yield _at(mapping, wanted, Severity.NOTE, "entry-incomplete", message, hint=hint)


def _unnamed(root: Path, named: set[str]) -> Iterator[Finding]:
    for path in sorted((root / store.IR).glob("*")):
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
    severity: Severity,
    code: str,
    message: str,
    *,
    field: str = "container",
    hint: str = store.SYNC_HINT,
) -> Finding:
    line = mapping.lines.get((entry.key, field)) or mapping.lines.get((entry.key,)) or entry.line or None
    return _finding(severity, code, message, store.MAPPING, line=line, hint=hint)


def _in_mapping(code: str, severity: Severity, problem: str) -> Finding:
    """A line of the mapping reader, with its number taken out of the front."""
    found = _LINE.match(problem)
    if found is None:
        return _finding(severity, code, problem, store.MAPPING)
    text = problem[found.end() :] if found[1] else problem
    return _finding(severity, code, text, store.MAPPING, line=int(found[1] or found[2]))


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
