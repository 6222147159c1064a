"""Manifests and indexes, Docker's and OCI's, as values. Pure: bytes in, values or a clear refusal out.

Sources: OCI image-spec manifest.md, image-index.md, descriptor.md, config.md; Docker's "Image Manifest V 2,
Schema 2". Whoever hands in bytes has compared them with their digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import NotFound, Refused, UsageError
from catalog.references import Digest
from generator.images.source import Descriptor

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)

DEFAULT_PLATFORM = "linux/amd64"
# The distribution-spec asks registries to take manifests of 4 MiB; nothing asks us to read larger ones.
MAX_MANIFEST = 4 * 1024 * 1024

_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",  # early builders of schema 2
)
# These differ in name only: every amd64 is v1, every arm64 is v8, and plain arm means v7.
_IMPLIED_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`artifact_type` is empty for images; `subject` is what an artifact refers to."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    artifact_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of an index. `platform` is normalised, None where the index names none."""

    descriptor: Descriptor
    platform: str | None
    artifact_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`entries` are everything listed; `images` leave attestations and the like out."""

    media_type: str
    entries: tuple[Listed, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> tuple[Listed, ...]:
        return tuple(entry for entry in self.entries if _is_image(entry))

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(sorted({entry.platform for entry in self.images if entry.platform}))


def parse(raw: bytes, place: str, declared: str = "") -> Manifest | Index:
    """`declared` is the media type under which the bytes came, used where they don't say it themselves.

    Raises Refused for what isn't a manifest, contradicts itself, or is of schema 1.
    """
    value = load_object(raw, place, "manifest", MAX_MANIFEST)
    if value.get("schemaVersion") == 1:
        raise Refused(
            "the image's manifest is of Docker's schema 1, which carries no verifiable layers",
            place=place,
            hint="pull and push the image once with a current tool; it becomes schema 2",
        )
    media_type = value.get("mediaType") or declared.partition(";")[0].strip()
    # image-spec manifest.md: a document with both is ambiguous; which one was meant depends on who reads it.
    if "manifests" in value and ("layers" in value or "config" in value):
        raise Refused("the manifest is an image and an index at once", place=place)
    if "manifests" in value:
        if media_type in MANIFEST_TYPES:
            raise Refused(f"an index that calls itself {media_type}", place=place)
        return _index(value, str(media_type or OCI_INDEX), place)
    if media_type in INDEX_TYPES:
        raise Refused(f"an image that calls itself {media_type}", place=place)
    if not isinstance(value.get("config"), dict) or not isinstance(value.get("layers"), list):
        raise Refused("not an image manifest: it has neither config and layers nor manifests", place=place)
    return _manifest(value, str(media_type or OCI_MANIFEST), place)


def choose(index: Index, platform: str | None, place: str) -> Listed:
    """The entry for `platform`; for None the one for linux/amd64, or the only one there is.

    A platform without a variant takes the one it implies, else the only variant there is. Raises NotFound
    with those available.
    """
    images = index.images
    if not images:
        raise NotFound("the index lists no image", place=place)
    if len(images) == 1 and (platform is None or images[0].platform is None):
        return images[0]
    wanted = normal_platform(platform or DEFAULT_PLATFORM)
    # image-index.md: if several match, the first one is to be used.
    for entry in images:
        if entry.platform == wanted:
            return entry
    related = [e for e in images if e.platform and e.platform.split("/")[:2] == wanted.split("/")]
    if len({entry.platform for entry in related}) == 1:
        return related[0]
    raise no_such_platform(wanted, index.platforms, place, asked=platform is not None)


def check_image(manifest: Manifest, place: str) -> None:
    """Raises Refused for what is no container image, or one whose layers can't be read from its registry."""
    if manifest.config.media_type not in _IMAGE_CONFIGS or manifest.artifact_type:
        kind = manifest.artifact_type or manifest.config.media_type
        raise Refused(f"not a container image but an artifact of type {kind[:200]!r}", place=place)
    for number, layer in enumerate(manifest.layers, start=1):
        if "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            raise Refused(
                f"layer {number} of {len(manifest.layers)} ({layer.digest}) is foreign: "
                "its registry doesn't distribute it",
                place=place,
                hint="rebuild the image without non-distributable layers",
            )
        if "encrypted" in layer.media_type:
            raise Refused(
                f"layer {number} of {len(manifest.layers)} ({layer.digest}) is encrypted",
                place=place,
                hint="name an image without encrypted layers",
            )


def config_platform(config: bytes, place: str) -> str:
    """`linux/arm64` from an image's config. Raises Refused where it names no platform."""
    value = load_object(config, place, "image config", MAX_MANIFEST)
    name = _platform(value)
    if name is None:
        raise Refused("the image's config names no os and architecture", place=place)
    return name


def normal_platform(text: str) -> str:
    """`os/architecture[/variant]` without an implied variant; `arm64` alone means linux. UsageError else."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts.insert(0, "linux")
    if len(parts) > 3 or not all(part and part.replace("_", "-").isprintable() for part in parts):
        raise UsageError(f"not a platform: {text[:100]!r}", hint="expected for example linux/amd64")
    parts[1] = _ARCHITECTURES.get(parts[1], parts[1])
    if len(parts) == 3 and parts[2] == _IMPLIED_VARIANTS.get(parts[1]):
        parts.pop()
    return "/".join(parts)


def no_such_platform(wanted: str, available: Sequence[str], place: str, *, asked: bool) -> NotFound:
    listed = ", ".join(available) or "none that it names"
    hint = f"available: {listed}" if asked else f"choose one with --platform; available: {listed}"
    return NotFound(f"no image for {wanted}", place=place, hint=hint)


def load_object(raw: bytes, place: str, what: str, limit: int) -> dict[str, Any]:
    """A JSON object from elsewhere. Raises Refused for everything else, however it is malformed."""
    if len(raw) > limit:
        raise Refused(f"the {what} has {len(raw)} bytes; at most {limit} are read", place=place)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(f"the {what} is not JSON: {why}", place=place) from None
    if not isinstance(value, dict):
        raise Refused(f"the {what} is not a JSON object", place=place)
    return value


def descriptor(value: object, place: str, where: str) -> Descriptor:
    """A content descriptor at key path `where`. Raises Refused."""
    if not isinstance(value, dict):
        raise Refused(f"{where} is not a descriptor", place=place)
    size, text = value.get("size"), value.get("digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Refused(f"{where}.size is not a number of bytes", place=place)
    try:
        digest = Digest.parse(text if isinstance(text, str) else "")
    except UsageError:
        raise Refused(f"{where}.digest is not a sha256 or sha512 digest", place=place) from None
    return Descriptor(
        media_type=str(value.get("mediaType") or ""),
        digest=digest,
        size=size,
        annotations=_annotations(value),
    )


def _manifest(value: Mapping[str, Any], media_type: str, place: str) -> Manifest:
    layers = tuple(
        descriptor(layer, place, f"layers[{number}]") for number, layer in enumerate(value["layers"])
    )
    subject = value.get("subject")
    return Manifest(
        media_type=media_type,
        config=descriptor(value["config"], place, "config"),
        layers=layers,
        annotations=_annotations(value),
        subject=descriptor(subject, place, "subject") if subject is not None else None,
        artifact_type=_text(value.get("artifactType")),
    )


def _index(value: Mapping[str, Any], media_type: str, place: str) -> Index:
    listed = value["manifests"]
    if not isinstance(listed, list):
        raise Refused("manifests is not a list", place=place)
    entries = []
    for number, item in enumerate(listed):
        found = descriptor(item, place, f"manifests[{number}]")
        platform = item.get("platform")
        entries.append(
            Listed(
                descriptor=found,
                platform=_platform(platform) if isinstance(platform, dict) else None,
                artifact_type=_text(item.get("artifactType")),
            )
        )
    return Index(media_type=media_type, entries=tuple(entries), annotations=_annotations(value))


def _platform(value: Mapping[str, Any]) -> str | None:
    names = [value.get(key) for key in ("os", "architecture", "variant")]
    parts = [name for name in names if isinstance(name, str) and name]
    if len(parts) < 2 or not all(isinstance(name, str) and name for name in names[:2]):
        return None
    try:
        return normal_platform("/".join(parts))
    except UsageError:
        return None


def _is_image(entry: Listed) -> bool:
    # BuildKit lists its attestations beside the images, as manifests for the platform unknown/unknown.
    if "vnd.docker.reference.type" in entry.descriptor.annotations or entry.artifact_type:
        return False
    if entry.platform and "unknown" in entry.platform.split("/")[:2]:
        return False
    return entry.descriptor.media_type in (*MANIFEST_TYPES, *INDEX_TYPES, "")


def _annotations(value: Mapping[str, Any]) -> dict[str, str]:
    found = value.get("annotations")
    if not isinstance(found, dict):
        return {}
    return {key: text for key, text in found.items() if isinstance(text, str)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
