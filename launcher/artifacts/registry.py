"""A registry of artifacts in a folder that many write to at once.

    NAME/v3.claim           who has taken the number; made exclusively, before anything else
    NAME/v3/…               the files
    NAME/v3.json            what they are: written last, whole; a version exists once this does
    NAME/aliases/ALIAS.json the version that an alias means; the last writer wins

`latest` is the highest version that exists, so nobody has to write it. A number whose publisher died is never
used again. Nothing is ever changed in a version, and every file is read against its checksum.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from catalog.errors import Refused, UsageError
from catalog.nearest import did_you_mean
from launcher.artifacts.names import (
    LATEST,
    ArtifactDamaged,
    ArtifactNotFound,
    ArtifactRef,
    VersionNotFound,
    check_alias,
    check_name,
    number,
)
from launcher.artifacts.reading import verified
from launcher.artifacts.store import Store
from launcher.artifacts.versions import Progress, StoredFile, Version, adding_up
from launcher.runs.run_directory import timestamp

FORMAT = 1
_SHA256 = "sha256:"
_TAKEN = 1000  # so many others may publish the same name at the same time


class Registry:
    """See `launcher.artifacts.versions.Artifacts` for what is asked of it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def local(self) -> bool:
        return self.store.local

    @property
    def place(self) -> str:
        return self.store.address("")

    def names(self) -> list[str]:
        return [name for name in self.store.names("") if not name.startswith(".")]

    def versions(self, name: str) -> list[Version]:
        """All of them, the newest first. Raises ArtifactNotFound."""
        numbers, aliases = self._numbers(name), self._aliases(name)
        return [self._read(name, each, aliases) for each in sorted(numbers, reverse=True)]

    def find(self, ref: ArtifactRef) -> Version:
        """Raises ArtifactNotFound and VersionNotFound, with what is near."""
        numbers, aliases = self._numbers(ref.name), self._aliases(ref.name)
        wanted = max(numbers) if ref.version == LATEST else aliases.get(ref.version, ref.number)
        if wanted not in numbers:
            known = [LATEST, *aliases, *(f"v{each}" for each in sorted(numbers, reverse=True))]
            shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
            raise VersionNotFound(
                f"artifact {ref.name!r} has no version {ref.version!r}{did_you_mean(ref.version, known)}",
                hint=f"there are: {shown}",
            )
        return self._read(ref.name, wanted, aliases)

    def put(
        self,
        name: str,
        source: Path,
        *,
        type: str = "artifact",  # noqa: A002 # the field's own name
        aliases: Sequence[str] = (),
        made_by: str | None = None,
        description: str = "",
        progress: Progress | None = None,
    ) -> Version:
        """Publishes a file, or what is in a folder, as a new version. `progress` hears bytes done and all."""
        check_name(name, "an artifact")
        for alias in aliases:
            check_alias(alias)
        files = dict(_files(source))
        moved = adding_up(progress, sum(file.stat().st_size for file in files.values()))
        taken = self._claim(name)
        folder = f"{name}/v{taken}"
        try:
            stored = {
                path: _stored(*self.store.put(file, f"{folder}/{path}", moved))
                for path, file in files.items()
            }
            made = Version(
                name=name,
                number=taken,
                created=timestamp(),
                files=stored,
                type=type,
                made_by=made_by,
                description=description,
                aliases=tuple(aliases),
            )
            self.store.replace(f"{folder}.json", _written(made))
        except BaseException:
            with contextlib.suppress(OSError):
                self.store.remove(folder)
            raise
        for alias in aliases:
            self._point(made, alias)
        return made

    def alias(self, ref: ArtifactRef, alias: str) -> Version:
        """Lets `alias` mean a version that exists; what it meant before is forgotten."""
        check_alias(alias)
        version = self.find(ref)
        self._point(version, alias)
        return self.find(ArtifactRef(ref.name, f"v{version.number}"))

    def open(self, version: Version, path: str, *, whole: bool = False) -> IO[bytes]:
        """A file of a version, checked as `launcher.artifacts.reading` says."""
        stored = version.files.get(path)
        if stored is None:
            raise version.without(path)
        try:
            file = self.store.open(f"{version.folder}/{path}")
        except FileNotFoundError:
            raise ArtifactDamaged(f"{version}: {path} is gone", place=self.address(version)) from None
        return verified(file, stored.checksum, stored.size, f"{version}/{path}", whole=whole)

    def address(self, version: Version, path: str = "") -> str:
        """Where its files lie: a path, or a URL of the store."""
        return self.store.address(f"{version.folder}/{path}" if path else version.folder)

    def shown(self, version: Version) -> str:
        return self.address(version)

    def _numbers(self, name: str) -> set[int]:
        found = set()
        for each in self.store.names(check_name(name, "an artifact")):
            known = number(each.removesuffix(".json")) if each.endswith(".json") else None
            if known is not None:
                found.add(known)
        if not found:
            raise ArtifactNotFound(
                f"no artifact {name!r}{did_you_mean(name, self.names())}",
                place=self.store.address(""),
                hint="`evaldock artifact ls` lists them, `evaldock artifact put` publishes one",
            )
        return found

    def _aliases(self, name: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for file in self.store.names(f"{name}/aliases"):
            data = _json(self.store.read(f"{name}/aliases/{file}"))
            if file.endswith(".json") and data is not None and isinstance(data.get("version"), int):
                found[file.removesuffix(".json")] = data["version"]
        return found

    def _read(self, name: str, wanted: int, aliases: Mapping[str, int]) -> Version:
        file = f"{name}/v{wanted}.json"
        data = _json(self.store.read(file))
        try:
            if data is None or data["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}")
            return Version(
                name=name,
                number=wanted,
                created=str(data["created"]),
                files={
                    str(path): _stored(str(each["sha256"]), int(each["size"]))
                    for path, each in data["files"].items()
                },
                type=str(data["type"]),
                made_by=data["made_by"],
                description=str(data["description"]),
                aliases=tuple(sorted(alias for alias, means in aliases.items() if means == wanted)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ArtifactDamaged(
                f"not an artifact's description: {type(problem).__name__}: {problem}",
                place=self.store.address(file),
            ) from None

    def _claim(self, name: str) -> int:
        names = self.store.names(name)
        known = [number(each.partition(".")[0]) or 0 for each in names]
        mine = json.dumps({"claim": uuid4().hex, "time": timestamp()}).encode()
        for taken in range(max(known, default=0) + 1, max(known, default=0) + _TAKEN):
            if self.store.create(f"{name}/v{taken}.claim", mine):
                return taken
        raise Refused(f"no number for a new version of {name!r} is to be had", place=self.store.address(name))

    def _point(self, version: Version, alias: str) -> None:
        data = json.dumps({"version": version.number, "time": timestamp()}).encode()
        self.store.replace(f"{version.name}/aliases/{alias}.json", data)


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Links to files count as the files; where they lead is nothing that others could follow."""
    if source.is_file():
        yield source.name, source
        return
    if not source.is_dir():
        raise ArtifactNotFound(f"nothing to publish at {source}")
    found = False
    for folder, folders, names in os.walk(source):
        for name in folders:
            if Path(folder, name).is_symlink():
                raise Refused(f"link {Path(folder, name)} leads to a folder", hint="publish that by itself")
        for name in sorted(names):
            found = True
            path = Path(folder, name)
            if not path.is_file():
                raise Refused(f"{path} is not a file")
            relative = path.relative_to(source).as_posix()
            try:
                relative.encode()
            except UnicodeEncodeError:
                raise Refused(f"{relative!r} is not a name in UTF-8", place=str(source)) from None
            yield relative, path
        folders.sort()
    if not found:
        raise UsageError(f"nothing to publish: {source} holds no files")


def _stored(sha256: str, size: int) -> StoredFile:
    return StoredFile(f"{_SHA256}{sha256}", size)


def _written(version: Version) -> bytes:
    files = {
        path: {"sha256": file.checksum.removeprefix(_SHA256), "size": file.size}
        for path, file in sorted(version.files.items())
    }
    data = {
        "format": FORMAT,
        "created": version.created,
        "type": version.type,
        "made_by": version.made_by,
        "description": version.description,
        "files": files,
    }
    return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()


def _json(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        read = json.loads(data)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None
