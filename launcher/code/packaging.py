"""Code that is shipped with a job: a tree of files, named after what is in it.

The tree becomes a tar file that depends on its files alone: sorted by name, no times, no owners, modes 0644
and 0755, links relative and straight to what they lead to. Its sha256 is the tree's digest and the name of
the archive, `<digest>.tar.gz`; the compression around it doesn't count, since no two builds of zlib need
compress alike. Nothing in it names the machine it was made on.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shlex
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.amounts import bytes_text
from catalog.errors import NotFound, Refused, UsageError
from launcher.code.code_files import collect
from launcher.runs import run_directory
from launcher.runs.locking import locked

if TYPE_CHECKING:
    from launcher.jobs import RunPlan
    from launcher.plans.planning import Planned

MAX_BYTES = 64_000_000
SUFFIX = ".tar.gz"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN = 20
_NAMED = 5  # how many of the largest files a refusal names
# A rename in one step is what makes it whole; whoever comes second throws its own copy away.
_UNPACKING = """unpack_code() {{
  [ -d {code} ] && return 0
  if [ "$(gzip -dc {code}{suffix} 2>/dev/null | sha256sum | cut -c1-64)" != {digest} ]; then
    echo "the archive of the shipped code is missing or damaged: "{code}{suffix} >&2
    return 1
  fi
  unpacking=$(mktemp -d {code}.XXXXXX) || return 1
  gzip -dc {code}{suffix} | tar -xmof - -C "$unpacking" && chmod 755 "$unpacking" &&
    mv -T "$unpacking" {code} 2>/dev/null
  rm -rf "$unpacking"
  [ -d {code} ] || {{ echo "the shipped code can't be unpacked to "{code} >&2; return 1; }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTree:
    """`digest` is the sha256 of the tar file that the tree becomes, `size` the bytes of its files, `files`
    pairs of a path inside the archive and the file (or link) here."""

    digest: str
    size: int
    files: tuple[tuple[str, Path], ...]


def collect_tree(root: Path, *, include: Sequence[str] | None = None, limit: int = MAX_BYTES) -> CodeTree:
    """The code below `root`, or below the files and folders of it that `include` names.

    Raises NotFound, UsageError, and Refused for what can't be shipped or is larger than `limit` bytes.
    """
    return tree_of(collect(root, include), str(root), limit)


def self_contained(script: Path, *beside: Path, limit: int = MAX_BYTES) -> CodeTree:
    """A script alone, or with the files and folders of its own folder (its configurations) that `beside`
    names."""
    folder = script.parent
    wanted = [script.name]
    for path in beside:
        try:
            wanted.append(path.resolve().relative_to(folder.resolve()).as_posix())
        except ValueError:
            raise UsageError(
                f"{path} is not in the folder of {script.name}",
                hint="put it there, or ship the whole tree",
            ) from None
    return collect_tree(folder, include=wanted, limit=limit)


def write(tree: CodeTree, folder: Path) -> Path:
    """Makes `folder/<digest>.tar.gz`. Raises Refused where a file is no longer what it was."""
    target = folder / f"{tree.digest}{SUFFIX}"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=SUFFIX)
    waiting = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        ):
            digest = _archive(tree.files, packed)
        if digest != tree.digest:
            raise Refused("code changed while the run was being planned", hint="start the run again")
        waiting.chmod(0o644)
        waiting.replace(target)
    finally:
        waiting.unlink(missing_ok=True)
    return target


def keep(planned: Planned) -> None:
    """Writes the archives of a plan into its run's folder: nothing can be submitted before."""
    for tree in planned.code:
        write(tree, Path(planned.plan.directory) / run_directory.CODE)


def unpacking(digest: str, folder: str) -> str:
    """Shell text that does the same as `unpack` on another machine: a function `unpack_code`, which makes
    `folder/<digest>` from `folder/<digest>.tar.gz` and fails with a line on stderr. For POSIX sh with the
    coreutils, mktemp, gzip and tar of GNU or busybox."""
    code = shlex.quote(f"{folder.rstrip('/')}/{digest}")
    return _UNPACKING.format(code=code, digest=digest, suffix=SUFFIX)


def as_data(tree: CodeTree) -> dict[str, Any]:
    return {"digest": tree.digest, "size": tree.size, "files": [name for name, _ in tree.files]}


def summary(tree: CodeTree) -> str:
    """For people: how much it is, and the names of its first files."""
    names = [name for name, _ in tree.files]
    more = [f"… and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    head = f"shipped code {tree.digest[:12]}…: {len(names)} files, {bytes_text(tree.size)}"
    return "\n".join([head, *(f"  {name}" for name in [*names[:_SHOWN], *more])])


def unpacked(run: RunPlan, digest: str) -> Path:
    """The shipped code of a run whose jobs run on this machine."""
    folder = Path(run.directory) / run_directory.CODE
    return unpack(folder / f"{digest}{SUFFIX}", folder)


def unpack(archive: Path, folder: Path) -> Path:
    """`folder/<digest>` with the files of `<digest>.tar.gz`. Once for each digest, by however many processes.

    Raises NotFound, and Refused for an archive that isn't what its name says.
    """
    digest = archive.name.removesuffix(SUFFIX)
    target = folder / digest
    if target.is_dir():
        return target
    if not archive.is_file():
        raise NotFound("the archive of the shipped code is not there", place=str(archive))
    with locked(folder / f".{digest}.lock"):
        if not target.is_dir():
            waiting = folder / f".{digest}.unpacking"
            shutil.rmtree(waiting, ignore_errors=True)
            _extract(archive, digest, waiting)
            waiting.rename(target)
    return target


class _Hashing(io.RawIOBase):
    """A stream that knows the sha256 of what went through it, on to `sink` where there is one."""

    def __init__(self, sink: gzip.GzipFile | None) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()
        self._sink, self._written = sink, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.sha256.update(data)
        self._written += len(data)
        if self._sink is not None:
            self._sink.write(data)
        return len(data)

    def tell(self) -> int:
        return self._written


def tree_of(found: Mapping[str, Path], place: str, limit: int = MAX_BYTES) -> CodeTree:
    """Of files by their names in it. `place` is where they come from, for messages."""
    if not found:
        raise Refused("there is no code to ship: .gitignore leaves nothing", place=place)
    sizes = {name: 0 if path.is_symlink() else path.stat().st_size for name, path in found.items()}
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_NAMED]
        raise Refused(
            f"{bytes_text(total)} of code, where {bytes_text(limit)} may be shipped; the largest files:"
            + "".join(f"\n  - {name} ({bytes_text(sizes[name])})" for name in largest),
            place=place,
            hint="name in .gitignore what isn't code, ship some folders only, "
            "or keep data as artifacts (`evaldock artifact put`)",
        )
    files = tuple(sorted(found.items(), key=lambda item: item[0].encode()))
    return CodeTree(digest=_archive(files, None), size=total, files=files)


def _archive(files: Iterable[tuple[str, Path]], sink: gzip.GzipFile | None) -> str:
    """Writes the tar file and returns its sha256."""
    hashing = _Hashing(sink)
    # GNU's format, which every tar reads, holds names of any length without headers of its own making.
    with tarfile.open(fileobj=hashing, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, path in files:
            member, content = tarfile.TarInfo(name), b""
            if path.is_symlink():
                member.type, member.mode = tarfile.SYMTYPE, 0o777
                member.linkname = os.path.relpath(os.path.realpath(path), path.parent)
            else:
                content = path.read_bytes()
                member.size = len(content)
                member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            archive.addfile(member, io.BytesIO(content))
    return hashing.sha256.hexdigest()


def _extract(archive: Path, digest: str, folder: Path) -> None:
    """Nothing is unpacked before it is known to be what was packed."""
    if not _DIGEST.fullmatch(digest):
        raise Refused("not named after a digest", place=str(archive))
    try:
        with gzip.open(archive) as packed:
            found = hashlib.file_digest(packed, "sha256").hexdigest()
        if found == digest:
            with tarfile.open(archive, "r:gz") as members:
                members.extractall(folder, filter=_member)  # noqa: S202 # filtered, and ours by its digest
            return
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
    raise Refused("the archive of the shipped code is damaged", place=str(archive), hint="send it again")


def _member(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    # Without a time of its own: what is built from it may not know years before 1980.
    return tarfile.data_filter(member, folder).replace(mtime=None)  # type: ignore[arg-type] # as documented
