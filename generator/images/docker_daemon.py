"""`docker-daemon:` images: those of a local Docker Engine, read from what `docker save` streams.

The engine offers nothing smaller than the whole image, so a temporary copy is made once (TMPDIR), when more
than the image's id is asked for. The only module that imports the docker SDK, and only when it is used.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NoReturn

from catalog.errors import NotFound, Refused, Unreachable, UsageError
from catalog.references import Digest, ImageRef
from generator.images.docker_archive import DockerArchive
from generator.images.oci_layout import LayoutSource
from generator.images.source import Cost, Descriptor, ResolvedImage
from generator.images.spool import need_space, spool
from generator.images.tar_files import TarFiles

# In seconds, for an answer to begin. An engine prepares the whole archive before its first byte comes.
_TIMEOUT = 30
_SAVE_TIMEOUT = 900
_PIECE = 2 << 20
_MOST_SAVED = 256 << 30
_HEX = re.compile(r"[0-9a-f]{64}")


class DockerDaemonSource:
    """`digest` and `manifest_digest` are the image's id: an engine keeps no manifest of what it built."""

    def __init__(self, ref: ImageRef) -> None:
        self.cost = Cost()
        self._ref = ref
        self._lock = threading.Lock()
        self._client: Any = None
        self._image: Any = None
        self._saved: DockerArchive | LayoutSource | None = None

    def head(self) -> Digest | None:
        with self._lock:
            return self._id()

    def resolve(self, platform: str | None) -> ResolvedImage:
        return self._archive().resolve(platform)

    def blob(self, descriptor: Descriptor) -> bytes:
        return self._archive().blob(descriptor)

    def read_range(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        return self._archive().read_range(descriptor, start, length)

    def referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        # An engine pulls images without what refers to them.
        return ()

    def manifest(self, digest: Digest) -> bytes:
        return self._archive().manifest(digest)

    def close(self) -> None:
        with self._lock:
            if self._saved:
                self._saved.close()
            if self._client is not None:
                self._client.close()
            self._saved = self._client = self._image = None

    def _id(self) -> Digest:
        return Digest.parse(self._inspected().id)

    def _archive(self) -> DockerArchive | LayoutSource:
        with self._lock:
            if self._saved is None:
                self._saved = self._save()
            return self._saved

    def _save(self) -> DockerArchive | LayoutSource:
        place, image = str(self._ref), self._inspected()
        need_space(int(image.attrs.get("Size") or 0), place)
        files = TarFiles(spool(self._stream(), limit=_MOST_SAVED, place=place), place=place)
        try:
            try:
                return DockerArchive(files, image_id=self._id(), place=place)
            except NotFound:
                # With containerd's image store the id is that of a manifest, and the archive a layout too.
                if "index.json" not in files.names():
                    raise
                return LayoutSource(files, tag=None, digest=self._id(), place=place)
        except BaseException:
            files.close()
            raise

    def _stream(self) -> Iterator[bytes]:
        try:
            self.cost.requests += 1
            self._client.api.timeout = _SAVE_TIMEOUT
            for chunk in self._image.save(chunk_size=_PIECE):
                self.cost.bytes += len(chunk)
                yield chunk
        except Exception as error:  # noqa: BLE001 # sorted out and raised again
            self._fail(error)

    def _inspected(self) -> Any:
        if self._image is not None:
            return self._image
        docker = _sdk()
        try:
            if self._client is None:
                self.cost.requests += 1  # the versions are compared first
                self._client = docker.from_env(timeout=_TIMEOUT)
            self._image = self._get(docker)
        except Exception as error:  # noqa: BLE001 # sorted out and raised again
            self._fail(error)
        return self._image

    def _get(self, docker: ModuleType) -> Any:
        names = _names(self._ref)
        for name in names[:-1]:
            try:
                self.cost.requests += 1
                return self._client.images.get(name)
            except docker.errors.ImageNotFound:
                continue
        self.cost.requests += 1
        return self._client.images.get(names[-1])

    def _fail(self, error: Exception) -> NoReturn:
        errors = _sdk().errors
        place = str(self._ref)
        if isinstance(error, errors.ImageNotFound):
            raise NotFound(
                "the Docker Engine has no such image", place=place, hint="`docker image ls` lists what it has"
            ) from None
        if isinstance(error, errors.APIError):
            raise Refused(f"the Docker Engine refuses: {error.explanation or error}", place=place) from None
        if isinstance(error, (errors.DockerException, OSError)) or type(error).__module__.startswith(
            "urllib3"
        ):
            raise Unreachable(
                f"the Docker Engine doesn't answer: {error}",
                place=place,
                hint="is it running, and may you use it? DOCKER_HOST says where it is",
            ) from None
        raise error


def _names(ref: ImageRef) -> tuple[str, ...]:
    """What the image may be called in the engine's interface, to be tried in this order."""
    if ref.digest:
        # Either the image's id, which is how such an image is pinned, or the digest it was pulled by.
        return str(ref.digest), f"{ref.repository}@{ref.digest}"
    if ref.repository == "sha256" and ref.tag and _HEX.fullmatch(ref.tag):
        return (f"sha256:{ref.tag}",)
    return (f"{ref.repository}:{ref.tag}",)


def _sdk() -> ModuleType:
    try:
        import docker  # noqa: PLC0415 # on use: it is an extra, and slow to import
    except ImportError:
        raise UsageError(
            "reading docker-daemon: images needs the docker SDK", hint="pip install 'evaldock[docker]'"
        ) from None
    sdk: ModuleType = docker
    return sdk
