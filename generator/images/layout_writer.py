"""Writing images into an `oci:` folder beside those that are there, so that it is whole at every moment.

Blobs come first, index.json replaces the old one in one step, and what only the replaced image needed goes
last. Source: OCI image-spec image-layout.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError, Refused
from catalog.references import Digest
from generator.images.manifest import MAX_MANIFEST, OCI_INDEX, Index, Manifest, load_object, parse
from generator.images.oci_layout import REF_NAME, FolderFiles, blob_name
from generator.images.source import Descriptor

_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_TEMPORARY = ".evaldock-"
_MOST_DEPTH = 4


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with one way to write it: sorted keys, no blanks, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


class LayoutWriter:
    """Use as a context manager: for its time no other writer of ours changes the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = -1

    def __enter__(self) -> LayoutWriter:
        """Makes the folder if need be. Raises Refused for one that holds something else."""
        if self._root.exists() and not self._root.is_dir():
            raise Refused("not a folder", place=str(self._root))
        taken = self._root.exists() and any(self._root.iterdir())
        if taken and not (self._root / "oci-layout").is_file():
            raise Refused(
                "the folder holds something else than an image layout",
                place=str(self._root),
                hint="name a folder of its own; it is made if need be",
            )
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for abandoned in self._root.glob(f"{_TEMPORARY}*"):
            abandoned.unlink(missing_ok=True)
        # An empty layout is one too: whatever interrupts the rest, the folder can be written to again.
        self._replace("oci-layout", _VERSION)
        if not (self._root / "index.json").exists():
            self._replace("index.json", _index([]))
        (self._root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)  # which gives up the lock

    def blob(self, chunks: Iterable[bytes], media_type: str) -> Descriptor:
        """Stores a blob, however large, and describes it."""
        digest, size = hashlib.sha256(), 0
        with self._temporary() as (file, path):
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            made = Digest("sha256", digest.hexdigest())
            _publish(file, path, self._root / blob_name(made))
        return Descriptor(media_type=media_type, digest=made, size=size)

    def add(self, image: Descriptor, tag: str) -> None:
        """Lists the image in index.json under `tag`, in the place of what stood there; all else stays."""
        listed = self._listed()
        replaced = [entry for entry in listed if _tag(entry) == tag]
        new = {
            "mediaType": image.media_type,
            "digest": str(image.digest),
            "size": image.size,
            "annotations": {REF_NAME: tag},
        }
        entries = [entry for entry in listed if _tag(entry) != tag] + [new]
        # The order must not tell in which order images were packed.
        entries.sort(key=lambda entry: (_tag(entry), str(entry.get("digest"))))
        self._replace("index.json", _index(entries))
        self._forget(replaced, entries)

    def _listed(self) -> list[dict[str, Any]]:
        data = (self._root / "index.json").read_bytes()
        place = f"{self._root} (index.json)"
        if not isinstance(parse(data, place), Index):
            raise Refused("index.json is no index", place=place)
        # As it is, with whatever fields another tool has put there.
        listed: list[dict[str, Any]] = load_object(data, place, "index", MAX_MANIFEST)["manifests"]
        return listed

    def _forget(self, replaced: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]) -> None:
        try:
            needed = {digest for entry in kept for digest in self._reachable(entry)}
            garbage = {digest for entry in replaced for digest in self._reachable(entry)} - needed
        except EvaldockError:
            # Another image of the layout can't be read: what it needs isn't known, so everything stays.
            return
        for digest in garbage:
            (self._root / blob_name(digest)).unlink(missing_ok=True)

    def _reachable(self, entry: Mapping[str, Any]) -> Iterator[Digest]:
        files = FolderFiles(self._root)
        waiting = [(Digest.parse(str(entry.get("digest"))), _MOST_DEPTH)]
        while waiting:
            digest, depth = waiting.pop()
            yield digest
            place = f"{self._root}@{digest}"
            found = parse(files.read(blob_name(digest), 0, MAX_MANIFEST + 1), place)
            if isinstance(found, Manifest):
                yield from (one.digest for one in (found.config, *found.layers))
            elif depth:
                waiting += [(one.descriptor.digest, depth - 1) for one in found.entries]

    def _replace(self, name: str, data: bytes) -> None:
        target = self._root / name
        with contextlib.suppress(FileNotFoundError):
            if target.read_bytes() == data:
                return
        with self._temporary() as (file, path):
            file.write(data)
            _publish(file, path, target)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Any, Path]]:
        handle, name = tempfile.mkstemp(dir=self._root, prefix=_TEMPORARY)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)


def _publish(file: Any, path: Path, target: Path) -> None:
    file.flush()
    # The name must not outlive a power cut without the bytes.
    os.fsync(file.fileno())
    path.chmod(0o644)
    path.replace(target)


def _index(entries: Sequence[Mapping[str, Any]]) -> bytes:
    return canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)})


def _tag(entry: Mapping[str, Any]) -> str:
    annotations = entry.get("annotations")
    found = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return found if isinstance(found, str) else ""
