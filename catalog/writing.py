"""Writing a catalog's IR so that an interruption at any moment shows.

IR files are replaced one by one, the index last of all, files it no longer names go after that: whatever
stands on disk in between verifies as the old catalog, as the new one, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog import index as index_file
from catalog import normal_form, yaml_text
from catalog.atomic import TEMPORARY, replace_file
from catalog.errors import UsageError
from catalog.index import HarnessFile, Index, IndexEntry
from catalog.models import Entry, Harness

IR = index_file.FOLDER
_PLAIN_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
# Names that Windows keeps for devices, and our own.
_RESERVED = frozenset(
    {"index", "con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write did, as paths relative to the catalog's folder; both empty when nothing had changed."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]


def write(root: Path, mapping_sha256: str, entries: Sequence[Entry]) -> Written:
    """Makes `ir/` hold exactly `entries`; `mapping_sha256` is that of the mapping.toml they were read by.

    Touches no file whose bytes stay the same. Raises UsageError when two entries hold a harness of one name.
    """
    texts, index = plan(mapping_sha256, entries)
    folder = root / IR
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(folder):
        changed = [f"{IR}/{name}" for name, data in texts.items() if replace_file(folder / name, data)]
        if replace_file(folder / index_file.FILE_NAME, index):
            changed.append(f"{IR}/{index_file.FILE_NAME}")
        removed = [f"{IR}/{name}" for name in _leftovers(folder, keep=texts.keys())]
        for name in removed:
            (root / name).unlink(missing_ok=True)
    return Written(changed=tuple(changed), removed=tuple(name for name in removed if TEMPORARY not in name))


def plan(mapping_sha256: str, entries: Sequence[Entry]) -> tuple[dict[str, bytes], bytes]:
    """(file name below `ir/` → its bytes, the bytes of the index). Pure."""
    harnesses = [(entry, harness) for entry in entries for harness in entry.harnesses]
    _refuse_conflicts(harnesses)
    names = file_names([harness.name for _, harness in harnesses])
    texts = {names[harness.name]: ir_text(harness) for _, harness in harnesses}
    index = Index(
        mapping_sha256=mapping_sha256,
        entries=tuple(
            IndexEntry(
                entry=entry,
                files=tuple(
                    HarnessFile(
                        name=harness.name,
                        file=names[harness.name],
                        sha256=hashlib.sha256(texts[names[harness.name]]).hexdigest(),
                        sources=harness.sources,
                    )
                    for harness in entry.harnesses
                ),
            )
            for entry in entries
        ),
    )
    return texts, yaml_text.seal(yaml_text.dump(index_file.to_data(index)))


def ir_text(harness: Harness) -> bytes:
    """The IR file of a harness."""
    definition = normal_form.Definition(
        name=harness.name,
        pkg_name=harness.pkg_name,
        tasks=harness.tasks,
        full_name=harness.full_name,
        description=harness.description,
        url=harness.url,
        other=harness.other,
    )
    return yaml_text.seal(yaml_text.dump(normal_form.to_data(definition)))


def file_names(harnesses: Sequence[str]) -> dict[str, str]:
    """Harness name → file name, safe and unique also where letter case doesn't count.

    A name that is no safe file name, or like another but for its case, gets a part of its own sha256.
    """
    slugs = {
        name: re.sub(r"[^a-z0-9._-]+", "-", name.lower())[:80].strip("-.") or "harness" for name in harnesses
    }
    uses = Counter(slugs.values())
    return {
        name: f"{slug}.yaml"
        if uses[slug] == 1 and _PLAIN_NAME.fullmatch(name.lower()) and slug.split(".")[0] not in _RESERVED
        else f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.yaml"
        for name, slug in slugs.items()
    }


def _refuse_conflicts(harnesses: Sequence[tuple[Entry, Harness]]) -> None:
    owners: dict[str, str] = {}
    for entry, harness in harnesses:
        owner = owners.setdefault(harness.name, entry.mapping.key)
        if owner != entry.mapping.key:
            raise UsageError(
                f"harness {harness.name!r} stands in two entries: {owner!r} and {entry.mapping.key!r}",
                place="mapping.toml",
                hint="keep one of them: tasks are named by their harness",
            )
        if sum(each.name == harness.name for each in entry.harnesses) > 1:
            raise UsageError(
                f"entry {entry.mapping.key!r} holds the harness {harness.name!r} twice", place="mapping.toml"
            )


def _leftovers(folder: Path, keep: Iterable[str]) -> list[str]:
    """IR files the index no longer names (only files of ours: sealed ones), and what a killed writer left."""
    kept = {*keep, index_file.FILE_NAME}
    found: list[str] = []
    for path in sorted(folder.iterdir()):
        stray = (
            path.suffix == ".yaml"
            and path.name not in kept
            and yaml_text.sealed(path.read_bytes()) is not None
        )
        if path.name.startswith(TEMPORARY) or stray:
            found.append(path.name)
    return found


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Holds a lock on the folder itself, so that two writers follow one another and no lock file is left."""
    import fcntl  # noqa: PLC0415 # not needed to read

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
