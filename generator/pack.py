"""An image from a harness folder, without an engine and the same bytes everywhere.

Two layers: the harness's files, and above them, late and tiny, its framework.yml files. The image has no
operating system; it is what a catalog reads, and what a Dockerfile copies from. The manifest carries the
framework files as a sidecar too, where they are small enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import UsageError
from catalog.references import Digest, ImageRef, Transport
from generator import sidecar
from generator.answer import FoundFile
from generator.images.layout_writer import LayoutWriter, canonical
from generator.images.manifest import DEFAULT_PLATFORM, OCI_INDEX, OCI_MANIFEST, normal_platform
from generator.images.source import Descriptor
from generator.pack_files import PATTERN, HarnessFiles, PackedFramework, collect
from generator.pack_layer import Entry, gzip_stored, tar

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# The same at all times, whatever SOURCE_DATE_EPOCH says: otherwise digests could not be checked anywhere.
_CREATED = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """`digest` is that of the index where there are several platforms, else of the manifest. `manifests` are
    by platform."""

    image: ImageRef
    digest: Digest
    manifests: dict[str, Digest]
    layers: tuple[Descriptor, ...]
    frameworks: tuple[PackedFramework, ...]
    sidecar: bool


@dataclass(frozen=True, slots=True)
class _Layer:
    descriptor: Descriptor
    diff_id: Digest
    instruction: str


def pack(folder: Path, to: ImageRef, *, platforms: Sequence[str] = (), strict: bool = False) -> Packed:
    """Writes the image of `folder` to the layout `to`, replacing what had its tag (`latest` without one).

    Raises UsageError for another transport and unknown platforms, and what `collect` raises.
    """
    if to.transport is not Transport.OCI or to.path is None or to.digest is not None:
        raise UsageError(f"can't pack to {to}", hint="expected --to oci:DIR[:TAG]")
    wanted = sorted({normal_platform(name) for name in platforms or (DEFAULT_PLATFORM,)})
    for name in wanted:
        if name.count("/") not in (1, 2):
            raise UsageError(f"not a platform: {name!r}", hint="expected for example linux/arm64")
    files = collect(folder, strict=strict)
    with LayoutWriter(to.path) as writer:
        layers = _layers(writer, files)
        inline = [_sidecar(files, layers, platform) for platform in wanted]
        made = {
            platform: _manifest(writer, files, layers, platform, document)
            for platform, document in zip(wanted, inline, strict=True)
        }
        top = _index(writer, made) if len(made) > 1 else made[wanted[0]]
        writer.add(top, to.tag or "latest")
    return Packed(
        image=to,
        digest=top.digest,
        manifests={platform: one.digest for platform, one in made.items()},
        layers=tuple(layer.descriptor for layer in layers),
        frameworks=files.frameworks,
        sidecar=all(inline),
    )


def _layers(writer: LayoutWriter, files: HarnessFiles) -> tuple[_Layer, ...]:
    copied = "COPY framework.yml " + " ".join(one.path for one in files.frameworks)
    return (
        _layer(writer, files.harness, f"COPY . {files.root}"),
        _layer(writer, files.metadata, copied),
    )


def _layer(writer: LayoutWriter, entries: Sequence[Entry], instruction: str) -> _Layer:
    diff_id = hashlib.sha256()

    def noted() -> Any:
        for chunk in tar(entries):
            diff_id.update(chunk)
            yield chunk

    descriptor = writer.blob(gzip_stored(noted()), _LAYER)
    return _Layer(descriptor, Digest("sha256", diff_id.hexdigest()), instruction)


def _sidecar(files: HarnessFiles, layers: Sequence[_Layer], platform: str) -> str:
    """Empty where it would be too large for a manifest."""
    holder = layers[-1].descriptor.digest
    document = sidecar.compose(
        layers=[layer.descriptor.digest for layer in layers],
        files=[
            FoundFile(
                path=one.path,
                layer=holder,
                sha256=hashlib.sha256(one.content).hexdigest(),
                content=one.content,
            )
            for one in files.frameworks
        ],
        pattern=PATTERN,
        platform=platform,
    )
    return document.decode() if len(document) <= sidecar.MAX_INLINE else ""


def _manifest(
    writer: LayoutWriter, files: HarnessFiles, layers: Sequence[_Layer], platform: str, document: str
) -> Descriptor:
    system, architecture, *variant = platform.split("/")
    config = {
        "created": _CREATED,
        "os": system,
        "architecture": architecture,
        **({"variant": variant[0]} if variant else {}),
        "config": {"WorkingDir": files.root},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        "history": [{"created": _CREATED, "created_by": layer.instruction} for layer in layers],
    }
    names = ", ".join(one.framework.name for one in files.frameworks)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _data(writer.blob([canonical(config)], _CONFIG)),
        "layers": [_data(layer.descriptor) for layer in layers],
        "annotations": {
            "org.opencontainers.image.title": names,
            **({sidecar.ANNOTATION: document} if document else {}),
        },
    }
    return writer.blob([canonical(manifest)], OCI_MANIFEST)


def _index(writer: LayoutWriter, made: dict[str, Descriptor]) -> Descriptor:
    listed = []
    for platform, descriptor in made.items():
        system, architecture, *variant = platform.split("/")
        named = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        listed.append({**_data(descriptor), "platform": named})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    return writer.blob([canonical(index)], OCI_INDEX)


def _data(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
