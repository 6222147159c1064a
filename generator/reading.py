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
from dataclasses import replace

from catalog.references import Digest, ImageRef, Transport
from generator.answer import ReadAnswer, Status
from generator.cache import ReadCache
from generator.images.open import open_image
from generator.images.source import Cost, ImageSource
from generator.ladder.climbing import Climb, Progress, Wish
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
    kept = ReadCache() if cache else None
    digest = known or ref.digest
    if kept and digest:
        answer = _kept_answer(kept, digest, platform, wish)
        if answer is not None:
            return replace(answer, image=str(ref))
    exact = ref if digest is None or ref.transport is not Transport.REGISTRY else ref.pinned(digest)
    with closing(opener(exact)) as source:
        answer = None
        if kept and digest is None and kept.seen(str(ref)):
            digest = source.head()
            answer = _kept_answer(kept, digest, platform, wish) if digest else None
        if answer is None:
            answer = _read(source, platform, wish, kept, progress)
        if kept and ref.digest is None:
            kept.note_reference(str(ref))
        cost = Cost(source.cost.requests, source.cost.bytes)
    return replace(answer, image=str(ref), cost=cost)


def _kept_answer(kept: ReadCache, digest: Digest, platform: str | None, wish: Wish) -> ReadAnswer | None:
    image = kept.known(digest, platform)
    if image is None:
        return None
    answer = kept.answer(image.manifest_digest, wish.pattern)
    if answer is None or not _is_enough(answer, wish):
        return None
    return replace(answer, digest=digest, platform=image.platform, platforms=image.platforms)


def _is_enough(answer: ReadAnswer, wish: Wish) -> bool:
    if wish.full and answer.verification != "digest":
        return False
    # A sidecar is complete by its own account only.
    return not wish.complete or (answer.complete and answer.verification != "sidecar")


def _read(
    source: ImageSource,
    platform: str | None,
    wish: Wish,
    kept: ReadCache | None,
    progress: Progress | None,
) -> ReadAnswer:
    image = source.resolve(platform)
    answer = kept.answer(image.manifest_digest, wish.pattern) if kept else None
    if answer is None or not _is_enough(answer, wish):
        outcome = Climb(source, image, wish, cache=kept, progress=progress).run()
        answer = ReadAnswer(
            image="",
            digest=image.digest,
            manifest_digest=image.manifest_digest,
            platform=image.platform,
            platforms=image.platforms,
            status=outcome.status,
            complete=outcome.complete,
            unread=outcome.unread,
            route=outcome.route,
            verification=outcome.verification,
            cost=Cost(),
            files=outcome.files,
            notes=outcome.notes,
        )
    answer = replace(answer, digest=image.digest, platform=image.platform, platforms=tuple(image.platforms))
    if kept and answer.status is not Status.UNKNOWN:
        kept.put_answer(answer, wish.pattern, platform)
    return answer
