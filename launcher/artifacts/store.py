"""A folder on any fsspec file system, with the two steps on which concurrent writers depend.

    create    makes a file that wasn't there, for one of any number of processes that try
    replace   gives a file its whole new content at once

On files, `create` is O_EXCL and `replace` a rename; on object stores they are conditional and plain writes.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from catalog.errors import UsageError
from launcher.artifacts.names import SCHEME
from launcher.runs.run_directory import write_bytes

CHUNK = 4 << 20
_EXTRAS = {"s3": "s3", "s3a": "s3"}  # protocol → extra of this project that brings its library
_MEMORY = threading.Lock()


class Store:
    """`url` is a folder: a path, or what fsspec knows, such as `s3://bucket/prefix`."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        from fsspec.core import url_to_fs  # noqa: PLC0415 # heavy, and only artifacts need it

        if url.startswith(SCHEME):
            raise UsageError(f"not a place for artifacts: {url!r} is read from such a place")
        try:
            self.fs, self.root = url_to_fs(url, **(options or {}))
        except ImportError as error:
            protocol = url.partition("://")[0]
            extra = _EXTRAS.get(protocol)
            hint = f"pip install 'evaldock[{extra}]'" if extra else f"install the package it needs: {error}"
            raise UsageError(f"artifacts on {protocol} need a package that isn't there", hint=hint) from None
        except ValueError as error:
            raise UsageError(f"not a place for artifacts: {url!r}: {error}") from None

    @property
    def local(self) -> bool:
        return "file" in self.fs.protocol

    def path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def address(self, name: str) -> str:
        """How a file or folder is called outside of this store: a path where it has one, else a URL."""
        path = self.path(name)
        return path if self.local else str(self.fs.unstrip_protocol(path))

    def names(self, folder: str) -> list[str]:
        """What lies right in a folder; nothing where it isn't there."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def read(self, name: str) -> bytes | None:
        try:
            data: bytes = self.fs.cat_file(self.path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data

    def open(self, name: str) -> IO[bytes]:
        opened: IO[bytes] = self.fs.open(self.path(name), "rb")
        return opened

    def create(self, name: str, data: bytes) -> bool:
        """Whether it was made here; False where somebody else has it."""
        path = self.path(name)
        self._make_parent(path)
        try:
            if self.local:
                with Path(path).open("xb") as file:
                    file.write(data)
            else:
                with _MEMORY:
                    self.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        # Where conditional writes aren't known, the last of two wins.
        return self.read(name) == data

    def replace(self, name: str, data: bytes) -> None:
        path = self.path(name)
        self._make_parent(path)
        if self.local:
            write_bytes(Path(path), data)
        else:
            self.fs.pipe_file(path, data)

    def put(self, file: Path, name: str, moved: Callable[[int], None]) -> tuple[str, int]:
        """Copies a local file; the sha256 and size of what was copied. `moved` hears of every piece."""
        path, sha256, size = self.path(name), hashlib.sha256(), 0
        self._make_parent(path)
        with file.open("rb") as source, self.fs.open(path, "wb") as target:
            while chunk := source.read(CHUNK):
                sha256.update(chunk)
                size += len(chunk)
                target.write(chunk)
                moved(len(chunk))
        return sha256.hexdigest(), size

    def remove(self, folder: str) -> None:
        self.fs.rm(self.path(folder), recursive=True)

    def _make_parent(self, path: str) -> None:
        self.fs.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH120 # a path of the store, not ours
