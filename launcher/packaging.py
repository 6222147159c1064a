"""Code that is shipped with a job: a tree of files, named after what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTree:
    """`digest` is the sha256 of the archive that the tree becomes, `size` the bytes of its files, `files`
    pairs of a path inside the archive and the file here."""

    digest: str
    size: int
    files: tuple[tuple[str, Path], ...]
