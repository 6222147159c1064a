"""Artifacts of a project of Weights & Biases through its own client: read here, published by its own command.

Versions are counted from v0 there. Files come into the cache, and are checked against the md5 that their
manifest has.
"""

from __future__ import annotations

import base64
import importlib
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from catalog.cachedir import cache_dir
from catalog.errors import Refused, Unreachable, UsageError
from catalog.nearest import did_you_mean
from launcher.artifacts.names import (
    ArtifactDamaged,
    ArtifactNotFound,
    ArtifactRef,
    VersionNotFound,
    check_name,
)
from launcher.artifacts.reading import verified
from launcher.artifacts.versions import StoredFile, Version
from launcher.runs.locking import locked


class WandbRegistry:
    """`root` is ENTITY/PROJECT. See `launcher.artifacts.versions.Artifacts` for what is asked of it."""

    local = False

    def __init__(self, root: str) -> None:
        entity, slash, project = root.partition("/")
        if not slash:
            raise UsageError(f"not a project of Weights & Biases: {root!r}", hint="expected ENTITY/PROJECT")
        self.root = f"{check_name(entity, 'an entity')}/{check_name(project, 'a project')}"
        try:
            self._client = importlib.import_module("wandb")
        except ModuleNotFoundError:
            raise UsageError("wandb is not installed", hint="pip install 'evaldock[wandb]'") from None
        self._known: dict[str, Any] = {}

    @property
    def place(self) -> str:
        return f"wandb://{self.root}"

    @cached_property
    def _api(self) -> Any:
        try:
            return self._client.Api()
        except (self._client.Error, ValueError) as error:
            raise Unreachable(
                f"Weights & Biases can't be asked: {_first_line(error)}",
                hint="`wandb login`, or WANDB_API_KEY",
            ) from None

    def names(self) -> list[str]:
        try:
            kinds = self._api.artifact_types(self.root)
            return sorted(collection.name for kind in kinds for collection in kind.collections())
        except (self._client.Error, ValueError) as error:
            raise Unreachable(f"{self.place} can't be asked: {_first_line(error)}") from None

    def versions(self, name: str) -> list[Version]:
        """The newest first."""
        latest = self.find(ArtifactRef(name))
        try:
            found = [self._version(each) for each in self._api.artifacts(latest.type, f"{self.root}/{name}")]
        except (self._client.Error, ValueError) as error:
            raise Unreachable(f"{self.place} can't be asked: {_first_line(error)}") from None
        return sorted(found, key=lambda version: -version.number)

    def find(self, ref: ArtifactRef) -> Version:
        try:
            return self._version(self._api.artifact(f"{self.root}/{ref.name}:{ref.version}"))
        except (self._client.Error, ValueError) as error:
            names = self.names()
            if ref.name in names:
                raise VersionNotFound(
                    f"artifact {ref.name!r} has no version {ref.version!r}: {_first_line(error)}",
                    place=self.place,
                    hint=f"`evaldock artifact ls {ref.name}` lists them",
                ) from None
            raise ArtifactNotFound(
                f"no artifact {ref.name!r}{did_you_mean(ref.name, names)}",
                place=self.place,
                hint="`evaldock artifact ls` lists them",
            ) from None

    def open(self, version: Version, path: str, *, whole: bool = False) -> IO[bytes]:
        stored = version.files.get(path)
        if stored is None:
            raise version.without(path)
        here = self._folder(version) / path
        if not here.is_file():
            here = self._download(version, path, self._folder(version).with_name(f"{version.number}.parts"))
        try:
            return verified(here.open("rb"), stored.checksum, stored.size, f"{version}/{path}", whole=whole)
        except ArtifactDamaged:
            here.unlink()
            raise

    def address(self, version: Version, path: str = "") -> str:
        """In the cache, where all of the version is then."""
        folder = self._folder(version)
        with locked(folder.with_name(f"{version.number}.lock")):
            if not folder.is_dir():
                waiting = folder.with_name(f"{version.number}.parts")
                for name, stored in version.files.items():
                    file = self._download(version, name, waiting).open("rb")
                    verified(file, stored.checksum, stored.size, f"{version}/{name}", whole=True).close()
                waiting.rename(folder)
        return str(folder / path)

    def shown(self, version: Version) -> str:
        return f"{self.place}/{version}"

    def _download(self, version: Version, path: str, folder: Path) -> Path:
        """A file that is there already, and is what it should be, isn't fetched again."""
        try:
            return Path(self._known[str(version)].get_entry(path).download(root=str(folder)))
        except (self._client.Error, ValueError, OSError) as error:
            raise Unreachable(f"{version}/{path} can't be fetched: {_first_line(error)}") from None

    def _folder(self, version: Version) -> Path:
        return cache_dir("artifacts", "wandb", *self.root.split("/"), version.name, str(version.number))

    def _version(self, artifact: Any) -> Version:
        name = artifact.name.partition(":")[0]
        entries = artifact.manifest.entries
        elsewhere = sorted(path for path, entry in entries.items() if entry.ref is not None)
        if elsewhere:
            raise Refused(
                f"{artifact.name} only refers to {elsewhere[0]!r}, so nothing says what it should hold",
                place=self.place,
            )
        version = Version(
            name=name,
            number=int(artifact.version.removeprefix("v")),
            created=f"{artifact.created_at.removesuffix('Z')}Z",
            files={
                path: StoredFile(f"md5:{base64.b64decode(entry.digest).hex()}", int(entry.size or 0))
                for path, entry in sorted(entries.items())
            },
            type=artifact.type,
            description=artifact.description or "",
            aliases=tuple(sorted(alias for alias in artifact.aliases if alias != "latest")),
        )
        self._known[str(version)] = artifact
        return version


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
