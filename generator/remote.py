"""Do the images that a catalog names still have the digests on record? One HEAD each, in parallel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from catalog import mapping as mapping_file
from catalog import store
from catalog.errors import EvaldockError, NotFound, Refused, Unreachable
from catalog.findings import Finding, Severity
from catalog.models import Entry, MappingEntry
from catalog.references import Digest, ImageRef, Transport
from generator.images.open import open_image
from generator.parallel import in_parallel

UNREACHABLE = "image-unreachable"
REFUSED = "image-refused"


Report = Callable[[str], None]


def remote_findings(
    root: Path,
    *,
    registries: bool,
    jobs: int,
    progress: Callable[[int], contextlib.AbstractContextManager[Report]],
) -> list[Finding]:
    """Of entries whose image is on record. Layouts inside of the catalog's folder are looked at in any case,
    as nothing leaves this machine for them; registries only with `registries`.

    Findings are in the order of mapping.toml. An entry that mapping.toml and the index tell differently isn't
    looked at: `catalog.drift` has said so. `progress` is as in `generator.sync`.
    """
    mapping = mapping_file.read(root / store.MAPPING)
    index, _ = store.read_index(root)
    recorded = {} if index is None else {each.entry.mapping.key: each.entry for each in index.entries}
    asked: dict[tuple[ImageRef, str | None], list[MappingEntry]] = {}
    for entry in mapping.entries:
        ref = mapping.image(entry)
        if _comparable(entry, recorded.get(entry.key)) and (registries or ref.transport is Transport.OCI):
            asked.setdefault((ref, entry.platform), []).append(entry)
    images = list(asked)
    found: dict[str, Finding] = {}
    work = [partial(_digest, ref, platform) for ref, platform in images]
    with progress(sum(map(len, asked.values()))) as report:
        for position, answer in in_parallel(work, jobs):
            for entry in asked[images[position]]:
                finding = _finding(entry, recorded[entry.key], answer)
                if finding is not None:
                    found[entry.key] = finding
                report(f"{entry.key}: {finding.message if finding else 'as recorded'}")
    return [found[entry.key] for entry in mapping.entries if entry.key in found]


def _comparable(entry: MappingEntry, recorded: Entry | None) -> bool:
    """A reference by digest can't point elsewhere."""
    return (
        recorded is not None
        and recorded.image is not None
        and bool(recorded.image.digest)
        and recorded.mapping.container == entry.container
        and recorded.mapping.platform == entry.platform
        and "@" not in entry.container
    )


def _digest(ref: ImageRef, platform: str | None) -> Digest:
    with contextlib.closing(open_image(ref)) as source:
        return source.head() or source.resolve(platform).digest


def _finding(entry: MappingEntry, recorded: Entry, answer: Digest | BaseException) -> Finding | None:
    assert recorded.image is not None  # noqa: S101 # `_comparable` asked
    sync_hint = f"`evaldock sync {entry.key}` reads it again"
    if isinstance(answer, Digest):
        if str(answer) == recorded.image.digest:
            return None
        message = f"{entry.container} is {answer} now; on record is {recorded.image.digest}"
        return _error(entry, "image-moved", message, sync_hint)
    if isinstance(answer, NotFound):
        return _error(entry, "image-gone", f"{entry.container}: {answer.message}", answer.hint)
    if isinstance(answer, EvaldockError):
        code = UNREACHABLE if isinstance(answer, Unreachable) else REFUSED
        return _error(entry, code, f"{entry.container}: {answer.message}", answer.hint)
    raise answer


def _error(entry: MappingEntry, code: str, message: str, hint: str | None) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        code=code,
        message=message,
        file=store.MAPPING,
        line=entry.line or None,
        hint=hint,
    )


def exit_code(findings: Sequence[Finding]) -> int:
    """0 unless there are errors; 1 for drift, whatever else could not be found out; 4 when a registry could
    not be asked, 5 when it would not answer."""
    codes = {one.code for one in findings if one.severity is Severity.ERROR}
    if codes - {UNREACHABLE, REFUSED}:
        return 1
    if UNREACHABLE in codes:
        return Unreachable.exit_code
    return Refused.exit_code if codes else 0
