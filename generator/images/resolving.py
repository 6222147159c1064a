"""From the bytes that a reference names to one platform's image: the same for every transport."""

from __future__ import annotations

from collections.abc import Callable

from catalog.errors import Refused
from catalog.references import Digest
from generator.images.manifest import (
    Index,
    check_image,
    choose,
    config_platform,
    no_such_platform,
    normal_platform,
    parse,
)
from generator.images.source import Descriptor, ResolvedImage

# An index may list indexes; nobody needs more than one of them inside another.
_MAX_DEPTH = 3


def resolve(
    raw: bytes,
    *,
    digest: Digest,
    platform: str | None,
    place: str,
    manifest: Callable[[Digest], bytes],
    blob: Callable[[Descriptor], bytes],
    declared: str = "",
) -> ResolvedImage:
    """`raw` has `digest`; `manifest` and `blob` fetch more of the image, verified. Costs a fetch for an index
    (its manifest) and one for a lone manifest (its config, which alone knows its platform)."""
    found = parse(raw, place, declared)
    manifest_digest = digest
    chosen: str | None = None
    platforms: tuple[str, ...] = ()
    for _ in range(_MAX_DEPTH):
        if not isinstance(found, Index):
            break
        entry = choose(found, platform, place)
        platforms = platforms or found.platforms
        chosen = entry.platform or chosen
        manifest_digest = entry.descriptor.digest
        raw = manifest(manifest_digest)
        found = parse(raw, f"{place} ({manifest_digest})", entry.descriptor.media_type)
    if isinstance(found, Index):
        raise Refused("indexes nested too deeply", place=place)
    check_image(found, place)
    if chosen is None:
        chosen = config_platform(blob(found.config), place)
        if platform is not None and not _satisfies(chosen, normal_platform(platform)):
            raise no_such_platform(normal_platform(platform), platforms or (chosen,), place, asked=True)
    return ResolvedImage(
        digest=digest,
        manifest_digest=manifest_digest,
        raw=raw,
        config=found.config,
        layers=found.layers,
        platform=chosen,
        platforms=platforms or (chosen,),
        annotations=found.annotations,
    )


def _satisfies(platform: str, wanted: str) -> bool:
    return platform == wanted or platform.split("/")[:2] == wanted.split("/")
