"""Sidecars: an image's framework files beside the image, so that the next reader opens no layer.

A sidecar is a JSON document. It names the layers that it was made from, so that it fits one image only, and
for every file its path, its layer and its sha256; no files means: read completely, there are none.

    {"version": 1, "pattern": "/opt/metadata/**/framework.yml", "manifest": "sha256:…",
     "platform": "linux/amd64", "layers": ["sha256:…"], "files": [
      {"path": "/opt/metadata/x/framework.yml", "layer": "sha256:…", "sha256": "…", "content": "…"}]}

`content` is text, or base64 where `"encoding": "base64"` stands beside it. `manifest` is left out where the
document stands in that very manifest. There are three places, looked at in this order: an annotation of the
image's manifest, the annotation of an artifact that refers to the image, that artifact's only layer.

Whoever can write to the repository can write a sidecar. What can be checked is checked, and one that fails is
passed over with a warning; beyond that it is trusted, and an answer from it says `verification: sidecar`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.errors import EvaldockError, Refused
from catalog.references import Digest
from generator.answer import FoundFile, ReadAnswer, Status
from generator.images.manifest import Manifest, load_object, parse
from generator.images.source import Descriptor, ImageSource, ResolvedImage
from generator.layers.pattern import Pattern

logger = logging.getLogger(__name__)

ARTIFACT_TYPE = "application/vnd.evaldock.framework.v1+json"
ANNOTATION = "org.evaldock.framework.v1"

# What registries take without complaint in a manifest, and in a list of several.
MAX_INLINE = 128 * 1024
MAX_DOCUMENT = 4 * 1024 * 1024
_MAX_FILE = 1024 * 1024
_MAX_FILES = 1000
_MAX_CANDIDATES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarFiles:
    """What a sidecar says, checked. No `files`: the image is said to have none."""

    files: tuple[FoundFile, ...]


def make(answer: ReadAnswer, image: ResolvedImage, pattern: str) -> bytes:
    """The document for a complete read of `image`. The same answer gives the same bytes."""
    if not answer.complete or answer.status is Status.UNKNOWN:
        raise Refused(
            "a sidecar must say all there is, and the image was not read completely", place=answer.image
        )
    data = compose(
        layers=[layer.digest for layer in image.layers],
        files=answer.files,
        pattern=pattern,
        platform=image.platform,
        manifest=image.manifest_digest,
    )
    if len(data) > MAX_DOCUMENT:
        raise Refused(
            f"the sidecar would have {len(data)} bytes; at most {MAX_DOCUMENT} are read", place=answer.image
        )
    return data


def compose(
    *,
    layers: Sequence[Digest],
    files: Sequence[FoundFile],
    pattern: str,
    platform: str,
    manifest: Digest | None = None,
) -> bytes:
    """Without `manifest` it is for an annotation of the image's own manifest."""
    values = {
        "version": 1,
        "pattern": Pattern.parse(pattern).text,
        **({"manifest": str(manifest)} if manifest else {}),
        "platform": platform,
        "layers": [str(layer) for layer in layers],
        "files": [_entry(file) for file in sorted(files, key=lambda file: file.path)],
    }
    return json.dumps(values, separators=(",", ":")).encode()


def read_sidecar(source: ImageSource, image: ResolvedImage, pattern: str) -> SidecarFiles | None:
    """What the image's sidecar says about `pattern`, None where there is none to rely on. Never raises for a
    sidecar that can't be had or doesn't fit: the layers can still be read."""
    wanted = Pattern.parse(pattern)
    if inline := image.annotations.get(ANNOTATION):
        found = _checked(inline.encode(errors="replace"), image, wanted, "annotation", attached=False)
        if found:
            return found
    answers: list[SidecarFiles] = []
    for document, where in _attached(source, image.manifest_digest):
        found = _checked(document, image, wanted, where, attached=True)
        if found and found not in answers:
            answers.append(found)
    if len(answers) > 1:
        logger.warning(
            "%s has sidecars that contradict each other: reading its layers", image.manifest_digest
        )
        return None
    return answers[0] if answers else None


def _entry(file: FoundFile) -> dict[str, str]:
    entry = {"path": file.path, "layer": str(file.layer), "sha256": file.sha256}
    try:
        return {**entry, "content": file.content.decode()}
    except UnicodeDecodeError:
        return {**entry, "content": base64.b64encode(file.content).decode(), "encoding": "base64"}


def _attached(source: ImageSource, subject: Digest) -> Iterator[tuple[bytes, str]]:
    """The documents of artifacts that refer to `subject`, each with what to call it."""
    try:
        referrers = source.referrers(subject, ARTIFACT_TYPE)
    except EvaldockError as error:
        logger.warning("looking for a sidecar: %s", error)
        return
    for referrer in referrers[:_MAX_CANDIDATES]:
        try:
            yield _document(source, referrer, subject), f"sidecar {referrer.digest}"
        except EvaldockError as error:
            logger.warning("sidecar %s is passed over: %s", referrer.digest, error)


def _document(source: ImageSource, referrer: Descriptor, subject: Digest) -> bytes:
    """From the list of referrers itself, else from the artifact's manifest, else from its layer."""
    if inline := referrer.annotations.get(ANNOTATION):
        return inline.encode(errors="replace")
    place = str(referrer.digest)
    artifact = parse(source.manifest(referrer.digest), place, referrer.media_type)
    if not isinstance(artifact, Manifest) or artifact.subject is None or artifact.subject.digest != subject:
        raise Refused("it belongs to another image", place=place)
    if inline := artifact.annotations.get(ANNOTATION):
        return inline.encode(errors="replace")
    layers = [layer for layer in artifact.layers if layer.media_type == ARTIFACT_TYPE]
    if len(layers) != 1 or layers[0].size > MAX_DOCUMENT:
        raise Refused("it has no layer that could be its document", place=place)
    return source.blob(layers[0])


def _checked(
    data: bytes, image: ResolvedImage, pattern: Pattern, where: str, *, attached: bool
) -> SidecarFiles | None:
    try:
        document = load_object(data, where, "sidecar", MAX_DOCUMENT)
        if document.get("version") == 1 and document.get("pattern") != pattern.text:
            return None  # about other files
        return SidecarFiles(files=_verified(document, image, pattern, where, attached=attached))
    except EvaldockError as error:
        logger.warning("%s of %s is passed over: %s", where, image.manifest_digest, error)
        return None


def _verified(
    document: Mapping[str, Any], image: ResolvedImage, pattern: Pattern, place: str, *, attached: bool
) -> tuple[FoundFile, ...]:
    if document.get("version") != 1:
        raise Refused("its version is not known here", place=place)
    # A document inside a manifest can't name that manifest's digest; one beside it must.
    if (attached or "manifest" in document) and document.get("manifest") != str(image.manifest_digest):
        raise Refused("it was made for another manifest", place=place)
    # Tools copy annotations from an image to the images built on it: the layers tell them apart.
    if document.get("layers") != [str(layer.digest) for layer in image.layers]:
        raise Refused("it was made from other layers than the image's", place=place)
    listed = document.get("files")
    if not isinstance(listed, list) or len(listed) > _MAX_FILES:
        raise Refused("its files are not a list, or too many", place=place)
    files = tuple(_file(entry, image, pattern, f"{place} files[{n}]") for n, entry in enumerate(listed))
    if len({file.path for file in files}) != len(files):
        raise Refused("it names a file twice", place=place)
    return tuple(sorted(files, key=lambda file: file.path))


def _file(entry: object, image: ResolvedImage, pattern: Pattern, place: str) -> FoundFile:
    values = entry if isinstance(entry, dict) else {}
    path, layer, sha256, content = (values.get(key) for key in ("path", "layer", "sha256", "content"))
    if not isinstance(path, str) or not isinstance(sha256, str) or not isinstance(content, str):
        raise Refused("not a path, a layer, a sha256 and a content", place=place)
    if not path.startswith("/") or not pattern.matches(path[1:]):
        raise Refused(f"not what it says to have looked for: {path[:200]!r}", place=place)
    holder = next((one.digest for one in image.layers if str(one.digest) == layer), None)
    if holder is None:
        raise Refused("its layer is not one of the image's", place=place)
    data = _content(content, str(values.get("encoding", "utf-8")), place)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Refused("the content doesn't have the sha256 that it names", place=place)
    return FoundFile(path=path, layer=holder, sha256=sha256, content=data)


def _content(text: str, encoding: str, place: str) -> bytes:
    try:
        match encoding:
            case "utf-8":
                data = text.encode()
            case "base64":
                data = base64.b64decode(text, validate=True)
            case _:
                raise Refused(f"unknown encoding {encoding[:50]!r}", place=place)
    except (UnicodeEncodeError, binascii.Error):
        raise Refused(f"the content is not {encoding}", place=place) from None
    if len(data) > _MAX_FILE:
        raise Refused(f"a file of {len(data)} bytes; at most {_MAX_FILE} are read", place=place)
    return data
