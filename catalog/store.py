"""A catalog on disk: `mapping.toml`, `ir/index.yaml`, `ir/<harness>.yaml`, `results/`.

Loading checks every byte against the index and goes on with what it finds: `Catalog.problems` says what is
wrong. Only the standard library is needed when the cache knows the files; PyYAML is imported when it doesn't.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from catalog import index as index_file
from catalog import normal_form, yaml_text
from catalog.errors import NotFound, Refused
from catalog.findings import Finding, Severity
from catalog.index import HarnessFile, Index
from catalog.models import Catalog, Entry, Harness
from catalog.parsed import Unreadable, parsed

if TYPE_CHECKING:
    from catalog.writing import Written

IR = index_file.FOLDER
INDEX = f"{IR}/{index_file.FILE_NAME}"
MAPPING = "mapping.toml"
SYNC_HINT = "run `evaldock sync`"


def find_root(given: Path | None = None) -> Path:
    """The folder that holds mapping.toml: `given`; else `.`, `./catalog`, then the packaged catalog.

    Raises NotFound when `given` is no catalog, or none is anywhere.
    """
    if given is not None:
        if (given / MAPPING).is_file():
            return given
        raise NotFound(
            "no catalog here: there is no mapping.toml",
            place=str(given),
            hint=f"`evaldock init {given}` makes one",
        )
    for root in (Path(), Path("catalog"), Path(__file__).parent):
        if (root / MAPPING).is_file():
            return root
    raise NotFound(
        "no catalog found: neither . nor ./catalog has a mapping.toml",
        hint="`evaldock init` makes one; `--catalog DIR` names one",
    )


def load(root: Path) -> Catalog:
    """The catalog at `root`. Never raises for an IR that doesn't verify or can't be read: see `problems`."""
    catalog, findings = inspect(root)
    return replace(catalog, problems=tuple(str(finding) for finding in findings))


def write(root: Path, mapping_sha256: str, entries: Sequence[Entry]) -> Written:
    """See `catalog.writing.write`."""
    from catalog import writing  # noqa: PLC0415 # listing a catalog writes nothing

    return writing.write(root, mapping_sha256, entries)


def require_verified(catalog: Catalog) -> None:
    """Raises Refused, with everything that is wrong, for a catalog that doesn't verify."""
    if catalog.problems:
        listed = "".join(f"\n  - {problem}" for problem in catalog.problems)
        raise Refused(
            f"the catalog's IR does not verify:{listed}",
            place=catalog.root,
            hint=f"{SYNC_HINT} to make it again, or `evaldock check` to see what changed",
        )


def checksum(raw: bytes) -> str:
    """Of a mapping.toml: the sha256, in hex, of its bytes."""
    return hashlib.sha256(raw).hexdigest()


def inspect(root: Path) -> tuple[Catalog, tuple[Finding, ...]]:
    """The catalog, and in which ways mapping.toml, the index and the IR files don't agree."""
    mapping = _read(root / MAPPING) or b""
    mapping_sha256 = checksum(mapping)
    index, findings = read_index(root)
    if index is None:
        return Catalog(root=str(root), mapping_sha256=mapping_sha256, harnesses=()), tuple(findings)
    if index.mapping_sha256 != mapping_sha256:
        findings.append(
            _error("mapping-changed", "changed since the IR was made from it", MAPPING, SYNC_HINT)
        )
    owners: dict[str, str] = {}
    entries: list[Entry] = []
    for each in index.entries:
        harnesses: list[Harness] = []
        for file in each.files:
            key = each.entry.mapping.key
            if owners.setdefault(file.name, key) != key:
                message = f"harness {file.name!r} stands in entries {owners[file.name]!r} and {key!r}"
                findings.append(_error("harness-conflict", message, INDEX, SYNC_HINT))
                continue
            definition = _definition(root, file, findings)
            if definition is not None:
                harnesses.append(_harness(each.entry, file, definition))
        entries.append(replace(each.entry, harnesses=tuple(harnesses)))
    catalog = Catalog(
        root=str(root),
        mapping_sha256=mapping_sha256,
        harnesses=tuple(harness for entry in entries for harness in entry.harnesses),
        entries=tuple(entries),
    )
    return catalog, tuple(findings)


def read_index(root: Path) -> tuple[Index | None, list[Finding]]:
    """The index, None when there is none to go by, with what is wrong with it."""
    data = _read(root / INDEX)
    if data is None:
        return None, [_error("index-missing", "there is no index: the IR was never made", INDEX, SYNC_HINT)]
    findings = list(_seal_findings(data, INDEX))
    try:
        return index_file.from_data(parsed(data)), findings
    except (Unreadable, index_file.Malformed) as error:
        return None, [*findings, _error("index-unreadable", f"not an index: {error}", INDEX, SYNC_HINT)]


def _definition(root: Path, file: HarnessFile, findings: list[Finding]) -> normal_form.Definition | None:
    place = f"{IR}/{file.file}"
    data = _read(root / IR / file.file)
    if data is None:
        findings.append(_error("ir-missing", "the index names this file, but it is gone", place, SYNC_HINT))
        return None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        message = "not the file that the index names: its sha256 is another"
        findings.append(_error("ir-changed", message, place, SYNC_HINT))
        findings.extend(_seal_findings(data, place))
    try:
        definition = normal_form.from_data(parsed(data))
    except (Unreadable, normal_form.Malformed) as error:
        findings.append(_error("ir-unreadable", f"not an IR: {error}", place, SYNC_HINT))
        return None
    if definition.name != file.name:
        message = f"holds harness {definition.name!r}, the index says {file.name!r}"
        findings.append(_error("ir-changed", message, place, SYNC_HINT))
        return None
    return definition


def _seal_findings(data: bytes, place: str) -> Iterator[Finding]:
    if yaml_text.sealed(data) is not True:
        message = "edited by hand: the checksum in its first line is not that of the rest"
        yield _error("hand-edit", message, place, f"{SYNC_HINT}; what is in ir/ is generated")


def _harness(entry: Entry, file: HarnessFile, definition: normal_form.Definition) -> Harness:
    assert entry.image is not None  # noqa: S101 # the index reader admits no harness without an image
    return Harness(
        name=definition.name,
        entry=entry.mapping.key,
        pkg_name=definition.pkg_name,
        image=entry.image,
        sources=file.sources,
        tasks=definition.tasks,
        full_name=definition.full_name,
        description=definition.description,
        url=definition.url,
        command=definition.command,
        packages=entry.mapping.packages,
        abilities=entry.mapping.abilities,
        state=entry.state,
        reason=entry.reason,
        ir_sha256=file.sha256,
        other=definition.other,
    )


def _error(code: str, message: str, file: str, hint: str) -> Finding:
    return Finding(severity=Severity.ERROR, code=code, message=message, file=file, hint=hint)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
