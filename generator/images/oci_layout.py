"""`oci:` folders, and what every OCI image layout shares wherever its files lie.

Source: OCI image-spec image-layout.md. A layout is untrusted: it may come with a pull request. Its files are
found by names we make from digests, and a symbolic link anywhere on the way is refused.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from catalog.errors import NotFound, Refused
from catalog.references import Digest, ImageRef
from generator.images.manifest import (
    INDEX_TYPES,
    MAX_MANIFEST,
    Index,
    Listed,
    Manifest,
    load_object,
    parse,
)
from generator.images.resolving import resolve
from generator.images.source import Cost, Descriptor, ResolvedImage

REF_NAME = "org.opencontainers.image.ref.name"
# What `blob` reads whole: configs and small layers.
_BLOB_LIMIT = 64 << 20
_MOST_REFERRERS = 1000
_READ = 8 << 20


class LayoutFiles(Protocol):
    """The files of a layout by their names there (`index.json`, `blobs/sha256/…`), for several threads."""

    def read(self, name: str, start: int, length: int) -> bytes:
        """At most `length` bytes; fewer only at the end of the file. Raises NotFound."""

    def close(self) -> None: ...


class FolderFiles:
    """A layout as a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str, start: int, length: int) -> bytes:
        with ExitStack() as stack:
            return read_at(self._open(name, stack), start, length)

    def close(self) -> None:
        return

    def _open(self, name: str, stack: ExitStack) -> int:
        # Step by step without following links, so that no check can be outrun. The root may well be a link:
        # it is the user who named it.
        *folders, file = name.split("/")
        try:
            at = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, at)
            for folder in folders:
                at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                stack.callback(os.close, at)
            # O_NONBLOCK: opening a fifo would wait for its writer.
            at = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
            stack.callback(os.close, at)
        except FileNotFoundError:
            raise NotFound(f"no {name}", place=str(self._root)) from None
        except OSError as error:
            raise Refused(
                f"{name} can't be read: {error.strerror}",
                place=str(self._root),
                hint="a layout holds plain files, no links; copy it with cp -rL if the links are yours",
            ) from None
        if not stat.S_ISREG(os.fstat(at).st_mode):
            raise Refused(f"{name} is not a plain file", place=str(self._root))
        return at


class LayoutSource:
    """An image of a layout as an `ImageSource`. `place` names it in errors."""

    def __init__(self, files: LayoutFiles, *, tag: str | None, digest: Digest | None, place: str) -> None:
        self.cost = Cost()
        self._files = files
        self._tag = tag
        self._digest = digest
        self._place = place
        self._lock = threading.Lock()
        self._found: Descriptor | None = None
        self._version_checked = False

    def head(self) -> Digest | None:
        return self._digest or self._named().digest

    def resolve(self, platform: str | None) -> ResolvedImage:
        digest, declared = self._digest, ""
        if digest is None:
            digest, declared = self._named().digest, self._named().media_type
        return resolve(
            self.manifest(digest),
            digest=digest,
            platform=platform,
            place=self._place,
            manifest=self.manifest,
            blob=self.blob,
            declared=declared,
        )

    def blob(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > _BLOB_LIMIT:
            raise Refused(
                f"blob {descriptor.digest} has {descriptor.size} bytes; "
                f"at most {_BLOB_LIMIT} are read at once",
                place=self._place,
            )
        data = self.read_range(descriptor, 0, descriptor.size + 1)
        if len(data) != descriptor.size:
            raise Refused(f"blob {descriptor.digest} is not {descriptor.size} bytes long", place=self._place)
        return self._verified(descriptor.digest, data)

    def read_range(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        return self._read(blob_name(descriptor.digest), start, length)

    def referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """Manifests that index.json lists with this subject, and those under the subject's fallback tag."""
        index = self._index()
        listed = [entry.descriptor for entry in index.entries]
        fallback = f"{subject.algorithm}-{subject.hex}"
        for entry in index.entries:
            if entry.descriptor.annotations.get(REF_NAME) == fallback:
                under = self._parsed(entry.descriptor)
                listed += [found.descriptor for found in under.entries] if isinstance(under, Index) else []
        found: dict[Digest, Descriptor] = {}
        for descriptor in listed[:_MOST_REFERRERS]:
            manifest = None if descriptor.media_type in INDEX_TYPES else self._parsed(descriptor)
            if (
                isinstance(manifest, Manifest)
                and manifest.subject
                and manifest.subject.digest == subject
                and artifact_type in (manifest.artifact_type, manifest.config.media_type)
            ):
                # Where a registry's answer has the manifest's annotations, so has this one.
                found[descriptor.digest] = replace(descriptor, annotations=manifest.annotations)
        return tuple(found.values())

    def manifest(self, digest: Digest) -> bytes:
        data = self._read(blob_name(digest), 0, MAX_MANIFEST + 1)
        if len(data) > MAX_MANIFEST:
            raise Refused(f"{digest} is too large for a manifest", place=self._place)
        return self._verified(digest, data)

    def close(self) -> None:
        self._files.close()

    def _index(self) -> Index:
        if not self._version_checked:
            self._check_version()
        found = parse(self._read("index.json", 0, MAX_MANIFEST + 1), f"{self._place} (index.json)")
        if not isinstance(found, Index):
            raise Refused("index.json is no index", place=self._place)
        return found

    def _check_version(self) -> None:
        try:
            marker = self._read("oci-layout", 0, 1 << 10)
        except NotFound:
            raise NotFound(
                "not an OCI image layout: it has no file oci-layout",
                place=self._place,
                hint="`evaldock pack` and `skopeo copy … oci:DIR` make one",
            ) from None
        version = load_object(marker, self._place, "file oci-layout", 1 << 10).get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise Refused(f"image layout version {version!r} is not known", place=self._place)
        self._version_checked = True

    def _named(self) -> Descriptor:
        # Looked up once: every answer is about the same image, even if the tag moves meanwhile.
        if self._found is None:
            self._found = self._look_up(self._index()).descriptor
        return self._found

    def _look_up(self, index: Index) -> Listed:
        """What the tag stands for; without a tag the only image there is, else `latest`."""
        entries = [entry for entry in index.entries if not entry.artifact_type]
        if self._tag is None and len(entries) == 1:
            return entries[0]
        names = [entry.descriptor.annotations.get(REF_NAME, "") for entry in entries]
        # Some tools write the image's full name there instead of the tag alone.
        tag = self._tag or "latest"
        for known in (names, [name.rpartition(":")[2] for name in names]):
            if tag in known:
                return entries[known.index(tag)]
        tags = ", ".join(sorted(filter(None, names))) or "none with a tag"
        raise NotFound(
            f"no image {self._tag!r} in the layout"
            if self._tag
            else f"the layout holds {len(entries)} images",
            place=self._place,
            hint=f"it holds: {tags}",
        )

    def _parsed(self, descriptor: Descriptor) -> Manifest | Index | None:
        try:
            return parse(self.manifest(descriptor.digest), self._place, descriptor.media_type)
        except (NotFound, Refused):
            # A referrer that can't be read is as good as none: it is looked at by chance, not by name.
            return None

    def _read(self, name: str, start: int, length: int) -> bytes:
        data = self._files.read(name, start, length)
        with self._lock:
            self.cost.bytes += len(data)
        return data

    def _verified(self, digest: Digest, data: bytes) -> bytes:
        if not digest.matches(data):
            raise Refused(f"blob {digest} doesn't have that digest", place=self._place)
        return data


def open_layout(ref: ImageRef) -> LayoutSource:
    assert ref.path is not None  # noqa: S101 # an oci: reference always has one
    if not ref.path.is_dir():
        raise NotFound(
            "no such folder", place=ref.name, hint="an oci: reference names an image layout's folder"
        )
    return LayoutSource(FolderFiles(ref.path), tag=ref.tag, digest=ref.digest, place=str(ref))


def read_at(file: int, start: int, length: int) -> bytes:
    """`os.pread` until `length` bytes are there or the file ends."""
    parts = []
    while length > 0 and (part := os.pread(file, min(length, _READ), start)):
        parts.append(part)
        start += len(part)
        length -= len(part)
    return b"".join(parts)


def blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
