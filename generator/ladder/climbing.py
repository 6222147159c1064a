"""Climbing the ladder for one image: reads what the plan says, in threads, until the plan says stop."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from catalog.errors import EvaldockError, Refused
from catalog.references import Digest
from generator.answer import FoundFile, Status
from generator.cache import ReadCache
from generator.images.source import ImageSource, ResolvedImage
from generator.ladder.fetching import Fetched, LayerReader
from generator.ladder.hints import hinted
from generator.ladder.plan import SIDECAR_PAYS, SMALL, LayerInfo, Rung, Step, next_step
from generator.layers.facts import Checked, LayerFacts
from generator.layers.limits import DEFAULT, LimitPassed, Limits
from generator.layers.overlay import Hit, Resolution, resolve
from generator.layers.pattern import Pattern
from generator.sidecar import ANNOTATION, read_sidecar

logger = logging.getLogger(__name__)

_PARALLEL = 4  # layers of one image at a time

# Called with the bytes received so far and those that the layers under way have in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is looked for. `complete`: read all layers that could matter. `full`: believe only what was
    compared with a blob's digest."""

    pattern: Pattern
    complete: bool = False
    full: bool = False
    limits: Limits = DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """As in `ReadAnswer`."""

    status: Status
    complete: bool
    unread: tuple[Digest, ...]
    route: str
    verification: str
    files: tuple[FoundFile, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    """A layer under way."""

    number: int
    patterns: Sequence[Pattern]
    cancelled: threading.Event = field(default_factory=threading.Event)


class Climb:
    def __init__(
        self,
        source: ImageSource,
        image: ResolvedImage,
        wish: Wish,
        *,
        cache: ReadCache | None,
        progress: Progress | None = None,
    ) -> None:
        self._source = source
        self._image = image
        self._wish = wish
        self._meter = _Meter(progress)
        self._reader = LayerReader(
            source,
            cache=cache,
            complete=wish.complete,
            full=wish.full,
            limits=wish.limits,
            received=self._meter.received,
        )
        self._layers = [
            LayerInfo(size=layer.size, toc=self._reader.uses_toc(layer)) for layer in image.layers
        ]
        self._known: dict[Pattern, list[LayerFacts | None]] = {}
        self._rungs: dict[int, Rung] = {}  # of the layers read now
        self._hints: frozenset[int] | None = None
        self._too_much: dict[int, LimitPassed] = {}
        self._asked_referrers = False

    def run(self) -> Outcome:
        """Raises what the source raises, and Refused for layers or files that can't be read."""
        inline = self._inline_sidecar()
        if inline is not None:
            return inline
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="layer") as pool:
            while True:
                found = self._resolve()
                step = self._next(found)
                if step is None:
                    return self._outcome(found)
                outcome = self._attached_sidecar(found, step)
                if outcome is not None:
                    return outcome
                self._race(step.layers, pool)

    # What comes next

    def _resolve(self) -> Resolution:
        """With everything known now; links may ask for further patterns, whose facts may be kept too."""
        wanted = {self._wish.pattern} - self._known.keys()
        while True:
            for pattern in wanted:
                self._known[pattern] = [self._reader.kept(layer, pattern) for layer in self._image.layers]
            found = resolve(self._wish.pattern, self._known)
            wanted = set(found.wanted)
            if not wanted:
                return found

    def _next(self, found: Resolution) -> Step | None:
        return next_step(
            found,
            self._layers,
            left_out=frozenset(self._too_much) | self._half_read(),
            hints=self._hinted,
            complete=self._wish.complete,
        )

    def _half_read(self) -> frozenset[int]:
        """Layers left when what was looked for had been found; this read goes on nowhere in them."""
        numbers = range(len(self._layers))
        return frozenset(
            number for number in numbers if not self._missing(number) and not self._whole(number)
        )

    def _missing(self, number: int) -> list[Pattern]:
        return [pattern for pattern, facts in self._known.items() if facts[number] is None]

    def _whole(self, number: int) -> bool:
        return all(facts.whole for column in self._known.values() if (facts := column[number]) is not None)

    def _hinted(self) -> frozenset[int]:
        if self._hints is None:
            config = self._source.blob(self._image.config)
            self._hints = hinted(config, len(self._layers), self._wish.pattern)
        return self._hints

    # Sidecars

    def _inline_sidecar(self) -> Outcome | None:
        if ANNOTATION not in self._image.annotations or not self._believes_sidecars:
            return None
        self._asked_referrers = True
        return self._sidecar(())

    def _attached_sidecar(self, found: Resolution, step: Step) -> Outcome | None:
        if self._asked_referrers or not self._believes_sidecars or step.cost <= SIDECAR_PAYS:
            return None
        self._asked_referrers = True
        return self._sidecar([hit for hit in found.hits if not hit.doubt])

    @property
    def _believes_sidecars(self) -> bool:
        return not self._wish.complete and not self._wish.full

    def _sidecar(self, certain: Sequence[Hit]) -> Outcome | None:
        """What a sidecar says, unless it contradicts what was found in layers already."""
        said = read_sidecar(self._source, self._image, self._wish.pattern.text)
        if said is None:
            return None
        files = {file.path: file for file in said.files}
        for hit in certain:
            file = files.get(f"/{hit.path}")
            if file is None or file.content != hit.node.content:
                logger.warning(
                    "the sidecar of %s contradicts its layers: passed over", self._image.manifest_digest
                )
                return None
        return Outcome(
            status=Status.FOUND if said.files else Status.ABSENT,
            complete=True,
            unread=(),
            route="sidecar",
            verification="sidecar",
            files=said.files,
        )

    # Reading

    def _race(self, numbers: Sequence[int], pool: ThreadPoolExecutor) -> None:
        """Reads these layers, the top one first, and gives up those that needn't be read once another one is
        known. A layer's failure counts only if nothing above it can still make the layer irrelevant."""
        waiting: dict[Future[Fetched], _Reading] = {}
        failed: dict[int, EvaldockError] = {}
        try:
            for number in numbers:
                reading = _Reading(number, self._missing(number))
                self._meter.expect(self._layers[number].cost)
                waiting[pool.submit(self._read, reading)] = reading
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    self._commit(waiting.pop(future), future, failed)
                step = self._next(self._resolve())
                wanted = step.layers if step else ()
                for future, reading in list(waiting.items()):
                    if reading.number not in wanted:
                        reading.cancelled.set()
                        del waiting[future]
                highest = max((reading.number for reading in waiting.values()), default=-1)
                for number in sorted(failed, reverse=True):
                    if number in wanted and number > highest:
                        raise failed[number]
        finally:
            for future, reading in waiting.items():
                reading.cancelled.set()
                future.cancel()

    def _read(self, reading: _Reading) -> Fetched:
        return self._reader.read(self._image.layers[reading.number], reading.patterns, reading.cancelled)

    def _commit(self, reading: _Reading, future: Future[Fetched], failed: dict[int, EvaldockError]) -> None:
        number = reading.number
        try:
            fetched = future.result()
        except LimitPassed as error:
            self._too_much[number] = error
            return
        except EvaldockError as error:
            failed[number] = error
            return
        for pattern, facts in fetched.facts.items():
            self._known[pattern][number] = facts
        likely = self._layers[number].size <= SMALL or number in (self._hints or ())
        rung = Rung.TOC if fetched.by_toc else Rung.LAYERS if likely else Rung.SCAN
        self._rungs[number] = max(rung, self._rungs.get(number, rung))

    # The answer

    def _outcome(self, found: Resolution) -> Outcome:
        certain = [hit for hit in found.hits if not hit.doubt]
        unread = sorted(found.unknown)
        status = Status.FOUND if certain else Status.UNKNOWN if unread else Status.ABSENT
        return Outcome(
            status=status,
            complete=not unread,
            unread=tuple(self._image.layers[number].digest for number in unread),
            route=self._route(certain),
            verification=self._verification(),
            files=tuple(self._file(hit) for hit in certain),
            notes=tuple(str(self._too_much[number]) for number in unread if number in self._too_much),
        )

    def _route(self, certain: Sequence[Hit]) -> str:
        """The dearest way to the layers that hold the files; if those were known, to any layer."""
        rungs = [self._rungs[hit.layer] for hit in certain if hit.layer in self._rungs]
        return max(rungs or self._rungs.values(), default=Rung.CACHE).name.lower()

    def _verification(self) -> str:
        checks = {facts.checked for column in self._known.values() for facts in column if facts is not None}
        for weakest in (Checked.NOT, Checked.TOC):
            if weakest in checks:
                return weakest.value
        return Checked.DIGEST.value

    def _file(self, hit: Hit) -> FoundFile:
        layer = self._image.layers[hit.layer].digest
        content = hit.node.content
        if content is None:
            raise Refused(f"/{hit.path} {hit.node.problem}", place=f"layer {layer}")
        return FoundFile(
            path=f"/{hit.path}", layer=layer, sha256=hashlib.sha256(content).hexdigest(), content=content
        )


class _Meter:
    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._received = 0
        self._expected = 0

    def expect(self, size: int) -> None:
        with self._lock:
            self._expected += size

    def received(self, size: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._received += size
            self._progress(self._received, self._expected)
