"""The built files: written when they differ, removed when nothing makes them any more, their times kept.

What a build remembers for the next stands in one JSON file beside Sphinx's own pickles, never in the output.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILE_NAME = "evaldock-site.json"
VERSION = 1


@dataclass(slots=True)
class Memory:
    """`outdir` is the folder that all this was true of. `keys`: of each collected page. `shell`: of what
    surrounds the documents. `contents`: of each file, when it was last changed (ns), its size, its sha256."""

    outdir: str
    keys: dict[str, str] = field(default_factory=dict)
    shell: str = ""
    contents: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, outdir: Path) -> Memory:
        """Empty when there is none, or none that this output and version can use."""
        try:
            data = json.loads((folder / FILE_NAME).read_bytes())
            if data.pop("version") == VERSION and data["outdir"] == str(outdir):
                return cls(**data)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # damaged or older: everything is made anew
        return cls(str(outdir))

    def holds(self, name: str, key: str, outdir: Path, files: Iterable[str]) -> bool:
        """Whether the last build made `name` from the same, and its files are there as it left them."""
        return self.keys.get(name) == key and all(
            self._left_alone(f"{outdir}/{file}", file) for file in files
        )

    def _left_alone(self, path: str, name: str) -> bool:
        try:
            status = os.stat(path)  # noqa: PTH116 # no Path for each: there are ten thousands
        except OSError:
            return False
        time, size, _ = self.contents.get(name, (0, -1, ""))
        return (status.st_mtime_ns, status.st_size) == (time, size)

    @staticmethod
    def forget(folder: Path) -> None:
        """Before anything is written, so that a build that is interrupted is made anew."""
        (folder / FILE_NAME).unlink(missing_ok=True)

    def save(self, folder: Path) -> None:
        data = {name: getattr(self, name) for name in ("outdir", "keys", "shell", "contents")}
        write_if_changed(
            folder / FILE_NAME, json.dumps({"version": VERSION} | data, separators=(",", ":")).encode()
        )


def write_if_changed(path: Path, data: bytes) -> bool:
    """True when it had to be written. Readers see the old file or the new one, never half of one. Unlike
    `catalog.atomic` this doesn't wait for the disk: there are ten thousands of these, all can be made anew.
    """
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
    return True


def sweep(outdir: Path, folders: Iterable[str], keep: set[str]) -> None:
    """Removes from folders below `outdir` all files but those to keep, then the folders that are left empty:
    pages of what is no longer in the catalog, also those of a build that nobody remembers."""
    for folder in folders:
        for name, _ in _files(outdir, folder):
            if name in keep:
                continue
            (outdir / name).unlink()
            for above in Path(name).parents[:-1]:
                try:
                    (outdir / above).rmdir()
                except OSError:
                    break  # not empty


def keep_times(outdir: Path, memory: Memory, floors: dict[str, int], skip: Path) -> None:
    """Gives each file that was written with the very bytes it already had its former time back, so that what
    copies a site by its times copies what changed. `floors`: times (ns) that a file must stay above, because
    its maker would take it for outdated. `skip`: a folder below `outdir` that isn't output."""
    contents: dict[str, tuple[int, int, str]] = {}
    for name, status in _files(outdir, "", skip):
        time, size, digest = memory.contents.get(name, (0, -1, ""))
        if (status.st_mtime_ns, status.st_size) != (time, size):
            now = hashlib.sha256((outdir / name).read_bytes()).hexdigest()
            if now == digest and time > floors.get(name, 0):
                os.utime(outdir / name, ns=(status.st_atime_ns, time))
            else:
                time = status.st_mtime_ns
            size, digest = status.st_size, now
        contents[name] = (time, size, digest)
    memory.contents = contents


def _files(outdir: Path, folder: str, skip: Path | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Names below `outdir` of all files in a folder there. No Path for each: there are ten thousands."""
    start = len(str(outdir)) + 1
    folders = [str(outdir / folder)] if (outdir / folder).is_dir() else []
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry.path[start:].replace(os.sep, "/"), entry.stat()
                elif entry.is_dir(follow_symlinks=False) and entry.path != str(skip):
                    folders.append(entry.path)
