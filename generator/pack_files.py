"""What of a harness folder goes where in its image.

framework.yml, or metadata/PKG/framework.yml, or core_evals/PKG/framework.yml (as wheels have it)
    → /opt/metadata/PKG/framework.yml     PKG of a framework.yml at the top is its own pkg_name
everything                                → /opt/harness/PKG/     PKG of the first framework.yml
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from catalog.errors import InvalidInput, NotFound, Refused
from catalog.framework import MAX_BYTES, Framework, parse
from catalog.ignoring import LEFT_OUT, Ignored, ignore_lines
from generator.pack_layer import Entry

PATTERN = "/opt/metadata/**/framework.yml"
_PLACES = ("framework.yml", "metadata/*/framework.yml", "core_evals/*/framework.yml")
_PKG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFramework:
    """A framework.yml: `source` in the folder, `path` absolute in the image."""

    source: Path
    path: str
    content: bytes
    framework: Framework


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessFiles:
    """`harness` and `metadata` are the members of the two layers, in the order of the tar."""

    root: str
    frameworks: tuple[PackedFramework, ...]
    harness: tuple[Entry, ...]
    metadata: tuple[Entry, ...]


def collect(folder: Path, *, strict: bool = False) -> HarnessFiles:
    """Raises NotFound without a framework.yml, InvalidInput for one with mistakes (all of them), and Refused
    for files that no image should hold."""
    if not folder.is_dir():
        raise NotFound("no such folder", place=str(folder))
    frameworks = _frameworks(folder, strict)
    first = frameworks[0].framework.definition.pkg_name
    root = f"opt/harness/{first}"
    return HarnessFiles(
        root=f"/{root}",
        frameworks=frameworks,
        harness=_with_parents(_walk(folder, root)),
        metadata=_with_parents(Entry(name=one.path.lstrip("/"), content=one.content) for one in frameworks),
    )


def _frameworks(folder: Path, strict: bool) -> tuple[PackedFramework, ...]:
    found = [path for place in _PLACES for path in sorted(folder.glob(place)) if path.is_file()]
    if not found:
        raise NotFound(
            "no framework.yml", place=str(folder), hint=f"it may stand at {', '.join(_PLACES)} of the folder"
        )
    frameworks, problems = [], []
    for path in found:
        place = str(path.relative_to(folder))
        try:
            frameworks.append(_framework(folder, path, strict))
        except InvalidInput as error:
            problems += [f"{place}: {problem}" for problem in error.problems]
    problems += _twice(frameworks)
    if problems:
        raise InvalidInput("the harness can't be packed", problems, place=str(folder))
    return tuple(frameworks)


def _framework(folder: Path, path: Path, strict: bool) -> PackedFramework:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    framework = parse(content, str(path), strict)
    pkg = framework.definition.pkg_name
    if not _PKG.fullmatch(pkg):
        raise InvalidInput(
            "not a name for a folder",
            [f"framework.pkg_name: {pkg!r} is no name for a folder"],
            place=str(path),
        )
    name = pkg if path.parent == folder else path.parent.name
    return PackedFramework(
        source=path, path=f"/opt/metadata/{name}/framework.yml", content=content, framework=framework
    )


def _twice(frameworks: Sequence[PackedFramework]) -> list[str]:
    paths = Counter(one.path for one in frameworks)
    names = Counter(one.framework.name for one in frameworks)
    return [
        *(f"{path} would be written {times} times" for path, times in paths.items() if times > 1),
        *(f"harness {name!r} is defined {times} times" for name, times in names.items() if times > 1),
    ]


def _walk(folder: Path, root: str) -> Iterator[Entry]:
    ignored = Ignored((*LEFT_OUT, *ignore_lines(folder)))
    for path in _files(folder, folder, ignored):
        relative = path.relative_to(folder).as_posix()
        try:
            relative.encode()
        except UnicodeEncodeError:
            raise Refused(f"{relative!r} is not a name in UTF-8", place=str(folder)) from None
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            target = str(path.readlink())
            _refuse_escape(relative, target, folder)
            yield Entry(name=f"{root}/{relative}", link=target)
        elif stat.S_ISREG(found.st_mode):
            yield Entry(name=f"{root}/{relative}", file=path, executable=bool(found.st_mode & stat.S_IXUSR))
        else:
            raise Refused(f"{relative} is neither a file nor a folder nor a link", place=str(folder))


def _files(folder: Path, root: Path, ignored: Ignored) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_folder = path.is_dir() and not path.is_symlink()
        if ignored(path.relative_to(root).as_posix(), folder=is_folder):
            continue
        if is_folder:
            yield from _files(path, root, ignored)
        else:
            yield path


def _refuse_escape(name: str, target: str, folder: Path) -> None:
    depth = len(PurePosixPath(name).parts) - 1
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or part == "/":
            raise Refused(
                f"link {name} leads out of the folder, to {target!r}",
                place=str(folder),
                hint="an image would have it lead somewhere else: copy the file, or leave the link out",
            )


def _with_parents(entries: Iterator[Entry]) -> tuple[Entry, ...]:
    whole = {entry.name: entry for entry in entries}
    for name in list(whole):
        for parent in PurePosixPath(name).parents:
            if parent.name:
                whole.setdefault(f"{parent}/", Entry(name=f"{parent}/"))
    # By their bytes, which no locale sorts differently.
    return tuple(sorted(whole.values(), key=lambda entry: entry.name.encode()))
