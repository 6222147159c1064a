"""What a version of an artifact is, what every registry can tell, and copying one out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from catalog.errors import Refused
from catalog.identity import canonical_sha256
from catalog.nearest import did_you_mean
from launcher.artifacts.names import ArtifactDamaged, ArtifactNotFound, ArtifactRef
from launcher.artifacts.store import CHUNK

# Hears of bytes: so many done, so many in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """`checksum` is `sha256:…` or `md5:…`, in hex, as the registry has it."""

    checksum: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`files` by their path in it. `made_by` is the job's or run's name that published it, `type` such as
    `weights` or `dataset`, `aliases` those that mean it now."""

    name: str
    number: int
    created: str
    files: Mapping[str, StoredFile]
    type: str = "artifact"
    made_by: str | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Raises ArtifactDamaged for a file whose name leads out of it: a registry is many people's."""
        for path in self.files:
            if not path or "\0" in path or {"", ".", ".."} & set(path.split("/")):
                raise ArtifactDamaged(f"{self} names a file that it can't hold: {path!r:.200}")
        checksums = {path: file.checksum for path, file in self.files.items()}
        object.__setattr__(self, "digest", canonical_sha256(checksums))

    def __str__(self) -> str:
        return f"{self.name}:v{self.number}"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())

    @property
    def folder(self) -> str:
        return f"{self.name}/v{self.number}"

    def below(self, path: str) -> dict[str, str]:
        """The files at or below `path`: their paths from there (empty for `path` itself), and in the version.
        Raises ArtifactNotFound."""
        if path in self.files:
            return {"": path}
        start = f"{path}/" if path else ""
        found = {name.removeprefix(start): name for name in self.files if name.startswith(start)}
        if not found:
            raise self.without(path, "file or folder")
        return found

    def without(self, path: str, what: str = "file") -> ArtifactNotFound:
        return ArtifactNotFound(
            f"{self} has no {what} {path!r}{did_you_mean(path, self.files)}",
            hint=f"`evaldock artifact show {self}` lists them",
        )


class Artifacts(Protocol):
    """What can be asked of every registry. All of it raises ArtifactNotFound, VersionNotFound (with what is
    near) and ArtifactDamaged."""

    @property
    def local(self) -> bool:
        """Whether asking it asks no other machine."""

    @property
    def place(self) -> str:
        """A path or URL, for messages."""

    def names(self) -> list[str]: ...

    def versions(self, name: str) -> list[Version]:
        """All of them, the newest first."""

    def find(self, ref: ArtifactRef) -> Version: ...

    def open(self, version: Version, path: str, *, whole: bool = False) -> IO[bytes]:
        """A file of a version; with `whole`, checked before its first byte."""

    def address(self, version: Version, path: str = "") -> str:
        """Where it lies for those who don't know registries, a path or a URL. It may have to be fetched."""

    def shown(self, version: Version) -> str:
        """The same for people, without fetching anything."""


def fetch(
    registry: Artifacts, version: Version, target: Path, path: str = "", progress: Progress | None = None
) -> list[Path]:
    """Copies a version, or a file or folder of it, to `target`, which must not be there yet. Whole and
    checked, or not at all."""
    if target.exists():
        raise Refused(f"{target} is already there", hint="name another place, or remove it first")
    wanted = version.below(path)
    moved = adding_up(progress, sum(version.files[name].size for name in wanted.values()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as waiting:
        made = Path(waiting) / "whole"
        for name in wanted:
            file = made / name if name else made
            file.parent.mkdir(parents=True, exist_ok=True)
            with registry.open(version, wanted[name]) as source, file.open("wb") as copy:
                while chunk := source.read(CHUNK):
                    copy.write(chunk)
                    moved(len(chunk))
        made.rename(target)
    return [target / name if name else target for name in wanted]


def adding_up(progress: Progress | None, whole: int) -> Callable[[int], None]:
    """Hears of pieces, and tells of all of them."""
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, whole)

    return moved
