"""From tars to the files of an image, through scanning and resolving, all layers known."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from generator.layers.blob import BlobStream
from generator.layers.facts import Checked, LayerFacts
from generator.layers.overlay import Resolution, resolve
from generator.layers.pattern import DEFAULT_PATTERN, Pattern
from generator.layers.scanning import Scan


def facts(tar: bytes, pattern: Pattern) -> LayerFacts:
    scan = Scan([pattern])
    scan.run(BlobStream([gzip.compress(tar, 1)]))
    return scan.facts(Checked.DIGEST)[pattern]


def resolved(tars: Sequence[bytes], text: str = DEFAULT_PATTERN) -> Resolution:
    pattern = Pattern.parse(text)
    known: dict[Pattern, list[LayerFacts | None]] = {pattern: [facts(tar, pattern) for tar in tars]}
    answer = resolve(pattern, known)
    while answer.wanted:
        known.update({region: [facts(tar, region) for tar in tars] for region in answer.wanted})
        answer = resolve(pattern, known)
    assert not answer.unknown
    return answer


def files(*tars: bytes, path: str = DEFAULT_PATTERN) -> dict[str, bytes | None]:
    """Contents by absolute path."""
    return {f"/{hit.path}": hit.node.content for hit in resolved(tars, path).hits}
