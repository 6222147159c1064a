"""One member of a layer, however it was learnt: from tar headers or from a table of contents."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    OTHER = "other"  # devices and fifos: a non-directory that hides what is below it in lower layers


@dataclass(frozen=True, slots=True)
class Member:
    """`path` and a hard link's `target` are relative to the root without `./` or a leading slash; a symlink's
    target is verbatim. `size` is in bytes, 0 for everything but files."""

    path: str
    kind: Kind
    size: int = 0
    target: str = ""
