"""Which files below a folder are code: all but what .gitignore files name, what tools made, and what is the
launching machine's own business.

As git has it, every folder's .gitignore counts, those above the root up to the repository's too; the deepest
one that says anything about a path decides, and nothing comes back out of a folder that is left out. What a
user names is shipped in any case.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from catalog.errors import NotFound, Refused, UsageError
from catalog.ignoring import LEFT_OUT, Ignored, ignore_lines

MAX_FILES = 20_000
# Settings and keys of the launching machine.
_OWN = ("env.toml", ".netrc", ".pypirc", "/evaldock-runs/")
_NEVER = {".git", ".hg", ".svn"}
# A folder that holds these is a virtual environment, a cache, or the folder of a run.
_MARKS = ({"pyvenv.cfg"}, {"CACHEDIR.TAG"}, {"run.json", "jobs"})


@dataclass(frozen=True, slots=True)
class _Level:
    """The patterns that hold below `base`, which is empty or ends with a slash."""

    base: str
    patterns: Ignored


@dataclass(frozen=True, slots=True)
class _Rules:
    """`levels` from the weakest to the strongest, their bases relative to the same folder as the paths."""

    levels: tuple[_Level, ...]

    def below(self, folder: Path, base: str) -> _Rules:
        lines = ignore_lines(folder)
        return _Rules((*self.levels, _Level(base, Ignored(lines)))) if lines else self

    def ignored(self, path: str, *, folder: bool) -> bool:
        for level in reversed(self.levels):
            verdict = level.patterns.verdict(path.removeprefix(level.base), folder=folder)
            if verdict is not None:
                return verdict
        return False


def collect(root: Path, include: Sequence[str] | None = None) -> dict[str, Path]:
    """The files and links below `root` (or below what of it `include` names) by their path from there.

    Raises NotFound, UsageError for a name that isn't below `root`, and Refused for what can't be shipped: a
    link that leads out of `root` or to something that isn't shipped, a device or socket, more than MAX_FILES.
    """
    if not root.is_dir():
        raise NotFound("no such folder", place=str(root))
    walk = _Walk(root.resolve())
    for name in include if include is not None else (".",):
        walk.start(name)
    return walk.whole()


class _Walk:
    """Paths are relative to the repository that `root` lies in, or to `root`; names relative to `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = next((up for up in (root, *root.parents) if (up / ".git").exists()), root)
        self.base = "".join(f"{part}/" for part in root.relative_to(self.top).parts)
        self.found: dict[str, Path] = {}
        self.links: dict[str, Path] = {}

    def start(self, name: str) -> None:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts:
            raise UsageError(f"{name!r} is not a path below {self.root}", hint="give it relative to there")
        place = self.root.joinpath(*parts)
        if not (place.exists() or place.is_symlink()):
            raise NotFound(f"nothing at {name!r}", place=str(self.root))
        if place.parent.resolve() != place.parent:
            raise UsageError(f"{name!r} lies behind a link", hint="name the folder that the link leads to")
        path = place.relative_to(self.top).as_posix()
        if place.is_dir() and not place.is_symlink():
            with os.scandir(place) as listed:
                self._folder(list(listed), "" if path == "." else f"{path}/", self._rules(place))
        else:
            self._add(path, place)

    def whole(self) -> dict[str, Path]:
        """Links are judged when everything is known that they could lead to."""
        files = set(self.found)
        folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
        for name, path in self.links.items():
            target = self._target(name, path)
            if target is None:
                continue
            if target not in files and target not in folders:
                raise Refused(
                    f"link {name} leads to {target}, which is not shipped",
                    place=str(self.root),
                    hint="name the link in .gitignore, or let what it leads to be shipped, too",
                )
            self.found[name] = path
        return dict(sorted(self.found.items(), key=lambda item: item[0].encode()))

    def _rules(self, place: Path) -> _Rules:
        """What holds below a place that the user named, whatever the patterns around it say of it."""
        levels: tuple[_Level, ...] = (_Level("", Ignored(_excluded(self.top))),)
        at, base = self.top, ""
        for part in place.relative_to(self.top).parts:
            rules = _Rules(levels).below(at, base)
            at, path = at / part, f"{base}{part}"
            levels = () if rules.ignored(path, folder=True) else rules.levels
            base = f"{path}/"
        return _Rules((_Level(self.base, Ignored((*LEFT_OUT, *_OWN))), *levels))

    def _folder(self, entries: Sequence[os.DirEntry[str]], base: str, rules: _Rules) -> None:
        rules = rules.below(self.top / base, base)
        for entry in entries:
            path = f"{base}{entry.name}"
            folder = entry.is_dir(follow_symlinks=False)
            if entry.name in _NEVER or rules.ignored(path, folder=folder):
                continue
            if not folder:
                self._add(path, Path(entry.path))
                continue
            with os.scandir(entry) as listed:
                below = list(listed)
            names = {each.name for each in below}
            if not any(mark <= names for mark in _MARKS):
                self._folder(below, f"{path}/", rules)

    def _add(self, path: str, file: Path) -> None:
        name = path.removeprefix(self.base)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise Refused(f"{name!r} is not a name in UTF-8", place=str(self.root)) from None
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            self.links[name] = file
        elif stat.S_ISREG(mode):
            self.found[name] = file
        else:
            raise Refused(
                f"{name} is neither a file nor a folder nor a link",
                place=str(self.root),
                hint="remove it, or name it in .gitignore",
            )
        if len(self.found) + len(self.links) > MAX_FILES:
            raise Refused(
                f"more than {MAX_FILES} files",
                place=str(self.root),
                hint="name in .gitignore what isn't code, or ship some folders only",
            )

    def _target(self, name: str, link: Path) -> str | None:
        """Where a link leads, relative to the root; None if it leads nowhere, for then nothing can use it."""
        try:
            real = Path(os.path.realpath(link, strict=True))
        except OSError:
            return None
        if not real.is_relative_to(self.root):
            raise Refused(
                f"link {name} leads out of what is shipped, to {link.readlink()}",
                place=str(self.root),
                hint="copy what it leads to, or name the link in .gitignore",
            )
        return real.relative_to(self.root).as_posix()


def _excluded(top: Path) -> Sequence[str]:
    """What the repository leaves out on this machine alone."""
    try:
        return (top / ".git" / "info" / "exclude").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
