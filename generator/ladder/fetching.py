"""One layer's facts, the cheapest way there is: kept, from a table of contents, or out of its bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from catalog.errors import Refused
from catalog.references import Digest
from generator.cache import ReadCache
from generator.images.source import Descriptor, ImageSource
from generator.ladder.flights import Cancelled, Flights
from generator.ladder.plan import AT_ONCE, WHOLE
from generator.ladder.windows import Windows
from generator.layers.blob import BlobStream
from generator.layers.builder import FactsBuilder
from generator.layers.facts import Checked, LayerFacts
from generator.layers.limits import DEFAULT, LimitPassed, Limits
from generator.layers.pattern import Pattern
from generator.layers.scanning import Facts, Scan, facts_from_toc
from generator.layers.toc import announces_toc, read_toc

# What builders store for a step that changes no file: always the same few bytes, found in most images.
_NOTHING = bytes.fromhex("621805a360148c5800080000ffff2eafb5ef00040000")
_EMPTY_LAYERS = frozenset(
    Digest.of(bytes.fromhex(header) + _NOTHING) for header in ("1f8b080000096e8800ff", "1f8b08000000000000ff")
)

# Each large layer being read holds a few windows in memory and keeps a core busy.
_large_reads = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Fetched:
    facts: Facts
    by_toc: bool


_flights: Flights[Fetched] = Flights()


class LayerReader:
    """For one image. `full`: everything that is believed was compared with the blob's digest. `complete`:
    layers are read to the end, and no table of contents counts that the manifest doesn't vouch for.
    `received` is called with the size of everything that comes in."""

    def __init__(
        self,
        source: ImageSource,
        *,
        cache: ReadCache | None,
        complete: bool,
        full: bool,
        limits: Limits = DEFAULT,
        received: Callable[[int], None],
    ) -> None:
        self._source = source
        self._cache = cache
        self._complete = complete
        self._full = full
        self._limits = limits
        self._received = received

    def kept(self, layer: Descriptor, pattern: Pattern) -> LayerFacts | None:
        """Costs nothing on the other side."""
        if layer.digest in _EMPTY_LAYERS:
            return FactsBuilder(pattern).facts(whole=True, checked=Checked.DIGEST)
        if self._cache is None:
            return None
        facts = self._cache.facts(layer.digest, pattern)
        if facts is None and self.uses_toc(layer):
            facts = self._cache.facts(layer.digest, pattern, vouched=layer.annotations)
        return facts

    def uses_toc(self, layer: Descriptor) -> bool:
        return not self._full and layer.size > WHOLE and announces_toc(layer)

    def read(self, layer: Descriptor, patterns: Sequence[Pattern], cancelled: threading.Event) -> Fetched:
        """Raises Cancelled, Refused (LimitPassed for a bomb) and what the source raises."""
        early_exit = not self._complete and not self._full and all(pattern.exact for pattern in patterns)
        try:
            if self._cache is None:
                return self._read(layer, patterns, early_exit, cancelled)
            # By the annotations too: two manifests may give a layer different tables of contents.
            annotations = tuple(sorted(layer.annotations.items()))
            return _flights.once(
                (layer.digest, annotations, tuple(patterns), early_exit, self._full),
                lambda: self._all_kept(layer, patterns),
                lambda: self._read(layer, patterns, early_exit, cancelled),
                cancelled,
                shared=_proved,
            )
        except Refused as error:
            error.place = error.place or f"layer {layer.digest}"
            raise

    def _all_kept(self, layer: Descriptor, patterns: Sequence[Pattern]) -> Fetched | None:
        facts = {pattern: found for pattern in patterns if (found := self.kept(layer, pattern)) is not None}
        return Fetched(facts, by_toc=False) if len(facts) == len(patterns) else None

    def _read(
        self, layer: Descriptor, patterns: Sequence[Pattern], early_exit: bool, cancelled: threading.Event
    ) -> Fetched:
        if layer.size > self._limits.compressed:
            raise LimitPassed(f"the layer has {layer.size} bytes; at most {self._limits.compressed} are read")
        facts = self._from_toc(layer, patterns) if self.uses_toc(layer) else None
        fetched = Fetched(facts, by_toc=True) if facts is not None else None
        if fetched is None:
            if layer.size <= (WHOLE if early_exit else AT_ONCE):
                facts = self._whole(layer, patterns)
            else:
                facts = self._windows(layer, patterns, early_exit, cancelled)
            fetched = Fetched(facts, by_toc=False)
        if self._cache is not None and _proved(fetched):
            for pattern, found in fetched.facts.items():
                # What a table of contents says holds only where a manifest names the same one.
                vouched = layer.annotations if found.checked is Checked.TOC else None
                self._cache.put_facts(layer.digest, pattern, found, vouched=vouched)
        return fetched

    def _from_toc(self, layer: Descriptor, patterns: Sequence[Pattern]) -> Facts | None:
        toc = read_toc(self._source, layer)
        if toc is None or (self._complete and not toc.verified):
            return None
        return facts_from_toc(toc, patterns, limits=self._limits)

    def _whole(self, layer: Descriptor, patterns: Sequence[Pattern]) -> Facts:
        data = self._source.blob(layer)
        self._received(len(data))
        scan = Scan(patterns, limits=self._limits)
        scan.run(BlobStream((data,)))
        return scan.facts(Checked.DIGEST)

    def _windows(
        self, layer: Descriptor, patterns: Sequence[Pattern], early_exit: bool, cancelled: threading.Event
    ) -> Facts:
        windows = Windows(
            self._source, layer, early_exit=early_exit, cancelled=cancelled, received=self._received
        )
        scan = Scan(patterns, limits=self._limits)
        with _turn(cancelled), windows:
            try:
                scan.run(BlobStream(windows), early_exit=early_exit)
            except LimitPassed:
                raise
            except Refused:
                # Bytes that changed on the way make no sense either, and then that is what to say.
                windows.verify()
                raise
            if not scan.whole:
                return scan.facts(Checked.NOT)
            windows.verify()
        return scan.facts(Checked.DIGEST)


def _proved(fetched: Fetched) -> bool:
    """Whether it holds for whoever names the same layer, wherever the bytes came from."""
    return all(facts.whole and facts.checked is not Checked.NOT for facts in fetched.facts.values())


@contextmanager
def _turn(cancelled: threading.Event) -> Iterator[None]:
    while not _large_reads.acquire(timeout=0.1):
        if cancelled.is_set():
            raise Cancelled
    try:
        yield
    finally:
        _large_reads.release()
