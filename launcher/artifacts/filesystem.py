"""`art://name[:version]/path`: artifacts as a read-only file system, for what opens fsspec URLs.

`art://llama/config.json` is that file of the latest version. The registry is the one that is used here (see
`launcher.artifacts.opening`), or the option `registry`, a folder or URL.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from fsspec.spec import AbstractFileSystem

from launcher.artifacts.names import SCHEME, ArtifactRef
from launcher.artifacts.opening import open_registry
from launcher.artifacts.registry import Registry
from launcher.artifacts.store import Store
from launcher.artifacts.versions import Artifacts, Version


class ArtifactFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec publishes no types
    """With `verify`, a large file is checked whole before its first byte is read."""

    protocol = "art"
    # What is registered, and which registry is used, changes.
    cachable = False

    def __init__(
        self,
        *,
        registry: str | None = None,
        options: Mapping[str, Any] | None = None,
        verify: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.registry: Artifacts = Registry(Store(registry, options)) if registry else open_registry()
        self.verify = verify

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return os.fspath(path).removeprefix(SCHEME).strip("/")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return _folder("")
        version, inside = self._find(path)
        if inside in version.files:
            return _file(path, version, inside)
        version.below(inside)
        return _folder(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found = self._listed(path)
        return found if detail else [each["name"] for each in found]

    def created(self, path: str) -> NoReturn:
        raise NotImplementedError("a version's files are as old as the version: see info()['created']")

    def _listed(self, path: str) -> list[dict[str, Any]]:
        if not path:
            return [_folder(name) for name in self.registry.names()]
        version, inside = self._find(path)
        if inside in version.files:
            return [_file(path, version, inside)]
        found: dict[str, dict[str, Any]] = {}
        for name, whole in version.below(inside).items():
            first, slash, _ = name.partition("/")
            here = f"{path}/{first}"
            found[here] = _folder(here) if slash else _file(here, version, whole)
        return list(found.values())

    def _open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        if mode != "rb":
            self._read_only()
        version, inside = self._find(self._strip_protocol(path))
        return self.registry.open(version, inside, whole=self.verify)

    def _find(self, path: str) -> tuple[Version, str]:
        ref = ArtifactRef.parse(path)
        return self.registry.find(ref), ref.path

    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.EROFS, "art:// is read-only; `evaldock artifact put` publishes a new version")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = mv = touch = _read_only
    put_file = put = pipe_file = pipe = _read_only


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}


def _file(path: str, version: Version, inside: str) -> dict[str, Any]:
    stored = version.files[inside]
    return {
        "name": path,
        "size": stored.size,
        "type": "file",
        "checksum": stored.checksum,
        "version": f"v{version.number}",
        "created": version.created,
    }
