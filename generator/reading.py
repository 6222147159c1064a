"""Reading the framework files of an image with as few requests and bytes as the image allows.

The ladder, the cheapest rung first: what was answered before for this manifest; a sidecar in the manifest's
annotations; facts of layers that were read before, for whatever image; tiny layers; a sidecar that refers to
the image, where it can save more than it costs; layers with a table of contents, small ones and those that
the history hints at; everything else from the top. `generator.ladder.plan` says where it stops.

A default read may leave layers unread and says so (`complete: false`); `complete` reads all that could
matter. `absent` is answered only when no unread layer could hold a file; `unknown` when one could, but is
larger than the limits allow to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from catalog.references import Digest, ImageRef, Transport
from generator.answer import ReadAnswer, Status
from generator.cache import ReadCache
from generator.images.open import open_image
from generator.images.source import Cost, ImageSource, ResolvedImage
from generator.ladder.climbing import Climb, Outcome, Progress, Wish
from generator.layers.limits import DEFAULT, Limits
from generator.layers.pattern import DEFAULT_PATTERN, Pattern

__all__ = ["DEFAULT_PATTERN", "read_image"]

Opener = Callable[[ImageRef], ImageSource]


def read_image(
    ref: ImageRef,
    *,
    pattern: str = DEFAULT_PATTERN,
    platform: str | None = None,
    complete: bool = False,
    verify_full: bool = False,
    cache: bool = True,
    known: Digest | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
    opener: Opener = open_image,
) -> ReadAnswer:
    """`known` is what the caller has just learnt that `ref` points at; it saves asking again. `verify_full`
    believes nothing but layers compared with their digests.

    Raises UsageError for an impossible pattern, NotFound, Unreachable and Refused (a digest that doesn't
    match, a damaged layer, a file over 1 MiB).
    """
    wish = Wish(pattern=Pattern.parse(pattern), complete=complete, full=verify_full, limits=limits)
    question = _Question(ref, platform, wish, ReadCache() if cache else None)
    digest = known or ref.digest
    answer = question.kept_answer(digest)
    if answer is not None:
        return answer
    exact = ref if digest is None or ref.transport is not Transport.REGISTRY else ref.pinned(digest)
    with closing(opener(exact)) as source:
        if digest is None and question.was_read_before:
            answer = question.kept_answer(source.head())
        if answer is None:
            answer = question.read(source, progress)
        return replace(answer, cost=Cost(source.cost.requests, source.cost.bytes))


@dataclass(frozen=True, slots=True)
class _Question:
    ref: ImageRef
    platform: str | None
    wish: Wish
    cache: ReadCache | None

    @property
    def was_read_before(self) -> bool:
        return self.cache is not None and self.cache.seen(str(self.ref))

    def kept_answer(self, digest: Digest | None) -> ReadAnswer | None:
        """What an earlier read of the same image answered, if it is enough for this one."""
        if self.cache is None or digest is None:
            return None
        image = self.cache.known(digest, self.platform)
        answer = self._kept(image.manifest_digest) if image else None
        if image is None or answer is None:
            return None
        return replace(answer, digest=digest, platform=image.platform, platforms=image.platforms)

    def read(self, source: ImageSource, progress: Progress | None) -> ReadAnswer:
        image = source.resolve(self.platform)
        answer = self._kept(image.manifest_digest)
        if answer is None:
            outcome = Climb(source, image, self.wish, cache=self.cache, progress=progress).run()
            answer = self._answer(image, outcome)
        answer = replace(
            answer, digest=image.digest, platform=image.platform, platforms=tuple(image.platforms)
        )
        if self.cache is not None:
            if answer.status is not Status.UNKNOWN:
                self.cache.put_answer(answer, self.wish.pattern, self.platform, self.ref.name)
            if self.ref.digest is None:
                self.cache.note_reference(str(self.ref))
        return answer

    def _kept(self, manifest: Digest) -> ReadAnswer | None:
        if self.cache is None:
            return None
        answer = self.cache.answer(manifest, self.wish.pattern, self.ref.name)
        return replace(answer, image=str(self.ref)) if answer and self._is_enough(answer) else None

    def _is_enough(self, answer: ReadAnswer) -> bool:
        if self.wish.full and answer.verification != "digest":
            return False
        # A sidecar is complete by its own account only.
        return not self.wish.complete or (answer.complete and answer.verification != "sidecar")

    def _answer(self, image: ResolvedImage, outcome: Outcome) -> ReadAnswer:
        return ReadAnswer(
            image=str(self.ref),
            digest=image.digest,
            manifest_digest=image.manifest_digest,
            platform=image.platform,
            platforms=tuple(image.platforms),
            status=outcome.status,
            complete=outcome.complete,
            unread=outcome.unread,
            route=outcome.route,
            verification=outcome.verification,
            cost=Cost(),
            files=outcome.files,
            notes=outcome.notes,
        )
