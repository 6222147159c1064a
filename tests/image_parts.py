"""Builds image layouts for tests, byte by byte and without the code under test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
FRAMEWORK = "opt/metadata/sums/framework.yml"

Descriptor = dict[str, Any]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """`fields` are those of TarInfo: `type`, `linkname`, …"""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Layer:
    """`blob` is what is stored, `diff` the plain tar in it."""

    diff: bytes
    blob: bytes
    media_type: str = TAR
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def plain(cls, diff: bytes) -> Layer:
        return cls(diff, diff)

    @classmethod
    def gzipped(cls, diff: bytes) -> Layer:
        return cls(diff, gzip.compress(diff, mtime=0), f"{TAR}+gzip")


class Layout:
    """An image layout being written to `root`; each image is listed in index.json at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: list[Descriptor] = []
        (root / "blobs" / "sha256").mkdir(parents=True)
        (root / "oci-layout").write_bytes(b'{"imageLayoutVersion": "1.0.0"}')
        self.write_index()

    def put(self, data: bytes, media_type: str, **fields: Any) -> Descriptor:
        self.blob(sha256(data)).write_bytes(data)
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **fields}

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def manifest(
        self,
        layers: Iterable[Layer],
        *,
        platform: str = "linux/amd64",
        history: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> Descriptor:
        """`fields` go into the manifest: `annotations`, `subject`, `artifactType`, …"""
        layers = list(layers)
        os, architecture, *variant = platform.split("/")
        config = {
            "os": os,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer.diff) for layer in layers]},
            "history": list(history),
        }
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.put(encoded(config), OCI_CONFIG),
            "layers": [
                self.put(
                    layer.blob,
                    layer.media_type,
                    **({"annotations": dict(layer.annotations)} if layer.annotations else {}),
                )
                for layer in layers
            ],
            **fields,
        }
        return self.put(encoded(document), OCI_MANIFEST)

    def index(self, manifests: Iterable[Descriptor], **fields: Any) -> Descriptor:
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests), **fields}
        return self.put(encoded(document), OCI_INDEX)

    def add(self, descriptor: Descriptor, tag: str | None = None) -> str:
        """Lists it in index.json; gives back its digest."""
        named = {"annotations": {"org.opencontainers.image.ref.name": tag}} if tag else {}
        self.listed.append({**descriptor, **named})
        self.write_index()
        digest: str = descriptor["digest"]
        return digest

    def image(self, *layers: Layer, tag: str | None = None, **fields: Any) -> str:
        return self.add(self.manifest(layers, **fields), tag)

    def write_index(self) -> None:
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.listed}
        (self.root / "index.json").write_bytes(encoded(document))

    def archive(self, path: Path, *, prefix: str = "") -> Path:
        """The same layout as a tar file."""
        with tarfile.open(path, "w") as archive:
            for file in sorted(self.root.rglob("*")):
                archive.add(file, prefix + str(file.relative_to(self.root)), recursive=False)
        return path
