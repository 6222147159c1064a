"""What `docker save` writes, as an `ImageSource`: a tar file with manifest.json, configs and layers.

There is no manifest as registries know it and so no digest of one. What identifies the image is its id, the
sha256 of its config; the layers are plain tar files, identified by the config's diff ids. Source: Docker's
"Image Specification v1.2", "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from catalog.errors import NotFound, Refused, UsageError
from catalog.references import Digest
from generator.images.manifest import (
    MAX_MANIFEST,
    config_platform,
    load_object,
    no_such_platform,
    normal_platform,
)
from generator.images.source import Cost, Descriptor, ResolvedImage
from generator.images.tar_files import TarFiles

_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_BLOB_LIMIT = 64 << 20


class DockerArchive:
    """The image whose config has the digest `image_id`; `files` is closed with it."""

    def __init__(self, files: TarFiles, *, image_id: Digest, place: str) -> None:
        """Raises NotFound when the archive has no such image."""
        self.cost = Cost()
        self._files = files
        self._id = image_id
        self._place = place
        self._config, layers = self._find()
        self._layers = self._describe(layers)
        self._names = dict(zip((layer.digest for layer in self._layers), layers, strict=True))

    def head(self) -> Digest | None:
        return self._id

    def resolve(self, platform: str | None) -> ResolvedImage:
        """`raw` is the config, since nothing else has the image's digest as its sha256."""
        actual = config_platform(self._config, self._place)
        if platform is not None and normal_platform(platform) not in (actual, actual.rpartition("/")[0]):
            raise no_such_platform(normal_platform(platform), (actual,), self._place, asked=True)
        return ResolvedImage(
            digest=self._id,
            manifest_digest=self._id,
            raw=self._config,
            config=Descriptor(media_type=_CONFIG, digest=self._id, size=len(self._config)),
            layers=self._layers,
            platform=actual,
            platforms=(actual,),
        )

    def blob(self, descriptor: Descriptor) -> bytes:
        if descriptor.digest == self._id:
            return self._config
        if descriptor.size > _BLOB_LIMIT:
            raise Refused(
                f"layer {descriptor.digest} has {descriptor.size} bytes; "
                f"at most {_BLOB_LIMIT} are read at once",
                place=self._place,
            )
        data = self.read_range(descriptor, 0, descriptor.size)
        if not descriptor.digest.matches(data):
            raise Refused(f"layer {descriptor.digest} doesn't have that digest", place=self._place)
        return data

    def read_range(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        if descriptor.digest == self._id:
            return self._config[start : start + length]
        name = self._names.get(descriptor.digest)
        if name is None:
            raise NotFound(f"no layer {descriptor.digest}", place=self._place)
        return self._files.read(name, start, length)

    def referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        return ()

    def manifest(self, digest: Digest) -> bytes:
        raise NotFound(f"no manifest {digest}: a local engine keeps none", place=self._place)

    def close(self) -> None:
        self._files.close()

    def _find(self) -> tuple[bytes, list[str]]:
        """The config and the names of the layers' files."""
        try:
            listed = json.loads(self._read("manifest.json"))
        except (ValueError, RecursionError):
            raise Refused("manifest.json is not JSON", place=self._place) from None
        for image in listed if isinstance(listed, list) else ():
            name = image.get("Config") if isinstance(image, dict) else None
            if isinstance(name, str) and self._id.matches(config := self._read(name)):
                return config, [str(layer) for layer in image.get("Layers") or ()]
        raise NotFound(f"no image {self._id} in the archive", place=self._place)

    def _describe(self, names: Sequence[str]) -> tuple[Descriptor, ...]:
        config = load_object(self._config, self._place, "image config", MAX_MANIFEST)
        found: Any = config.get("rootfs")
        texts = found.get("diff_ids") if isinstance(found, dict) else None
        if not isinstance(texts, list) or len(texts) != len(names):
            raise Refused(f"the config doesn't name the {len(names)} layers there are", place=self._place)
        try:
            digests = [Digest.parse(str(text)) for text in texts]
        except UsageError as error:
            raise Refused(error.message, place=self._place) from None
        return tuple(
            Descriptor(media_type=_LAYER, digest=digest, size=self._files.size(name))
            for digest, name in zip(digests, names, strict=True)
        )

    def _read(self, name: str) -> bytes:
        return self._files.read(name, 0, MAX_MANIFEST + 1)
