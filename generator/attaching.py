"""Attaching sidecars: read an image completely once, so that nobody has to again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from catalog.errors import Refused, UsageError
from catalog.references import Digest, ImageRef, Transport
from generator.answer import ReadAnswer
from generator.images.manifest import parse
from generator.images.source import Descriptor, ResolvedImage
from generator.ladder.climbing import Progress
from generator.layers.pattern import Pattern
from generator.reading import read_image
from generator.registry.client import Network
from generator.registry.source import RegistrySource
from generator.sidecar import ANNOTATION, ARTIFACT_TYPE, MAX_INLINE, SidecarFiles, make, read_sidecar

DOCUMENT_NAME = "evaldock-framework.json"

Watch = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A sidecar for one platform's image. `artifact` is None until it is pushed, or where the image already
    has this sidecar (`present`). `inline`: small enough to travel in the list of referrers itself, so
    that reading it costs one request. `fallback`: listed under the tag, for want of a referrers API."""

    subject: Descriptor
    platform: str
    answer: ReadAnswer
    document: bytes
    present: bool
    artifact: Digest | None = None
    fallback: bool = False

    @property
    def inline(self) -> bool:
        return len(self.document) <= MAX_INLINE

    @property
    def annotations(self) -> dict[str, str]:
        return {ANNOTATION: self.document.decode()} if self.inline else {}


def plan(
    ref: ImageRef,
    *,
    pattern: str,
    platform: str | None = None,
    watch: Watch = lambda _: nullcontext(),
    network: Network | None = None,
) -> Iterator[Attachment]:
    """What is to be pushed for every platform of `ref`, or for one, as each is read. Pushes nothing. `watch`
    is entered for each read, with what to call it."""
    wanted = Pattern.parse(pattern)
    if ref.transport is not Transport.REGISTRY:
        raise UsageError(
            f"a sidecar is attached to an image in a registry, and {str(ref)!r} is none",
            hint="push the image first, with skopeo copy for example",
        )
    source = RegistrySource(ref, network)
    try:
        for one in (platform,) if platform else source.platforms() or (None,):
            yield _planned(source, source.resolve(one), wanted.text, watch)
    finally:
        source.close()


def push(attachment: Attachment, ref: ImageRef, network: Network | None = None) -> Attachment:
    """Pushes one, unless the image has it. Raises UsageError where oras is not installed."""
    if attachment.present:
        return attachment
    try:
        from generator.registry import push as pushing  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise UsageError(
            f"pushing needs oras, which is not installed ({error})", hint="pip install 'evaldock[push]'"
        ) from None
    artifact = pushing.Artifact(
        subject=attachment.subject,
        artifact_type=ARTIFACT_TYPE,
        document=attachment.document,
        name=DOCUMENT_NAME,
        annotations=attachment.annotations,
    )
    pushed = pushing.push(ref, artifact, network)
    return replace(attachment, artifact=pushed.digest, fallback=pushed.fallback)


def as_data(attachment: Attachment) -> dict[str, Any]:
    """For --json."""
    return {
        "platform": attachment.platform,
        "subject": str(attachment.subject.digest),
        "artifact_type": ARTIFACT_TYPE,
        "artifact": str(attachment.artifact) if attachment.artifact else None,
        "present": attachment.present,
        "inline": attachment.inline,
        "fallback": attachment.fallback,
        "bytes": len(attachment.document),
        "files": [
            {"path": file.path, "layer": str(file.layer), "sha256": file.sha256}
            for file in attachment.answer.files
        ],
    }


def _planned(source: RegistrySource, image: ResolvedImage, pattern: str, watch: Watch) -> Attachment:
    # Others will believe what is written here: layers are read to the end and compared with their digests.
    with watch(f"{source.ref} {image.platform}") as progress:
        answer = read_image(
            source.ref.pinned(image.digest),
            pattern=pattern,
            platform=image.platform,
            complete=True,
            verify_full=True,
            progress=progress,
        )
    if answer.manifest_digest != image.manifest_digest:
        raise Refused(f"read {answer.manifest_digest} instead of {image.manifest_digest}", place=answer.image)
    document = make(answer, image, pattern)
    said = SidecarFiles(files=tuple(sorted(answer.files, key=lambda file: file.path)))
    return Attachment(
        subject=Descriptor(
            media_type=parse(image.raw, str(source.ref)).media_type,
            digest=image.manifest_digest,
            size=len(image.raw),
        ),
        platform=image.platform,
        answer=answer,
        document=document,
        present=read_sidecar(source, image, pattern) == said,
    )
