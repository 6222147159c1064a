"""Which files of a folder stay out of what is made of it: what tools leave behind, and what .gitignore names.

Source: gitignore(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused

# What would differ from one machine to the next, or is nobody else's business.
LEFT_OUT = (
    ".git",
    ".hg",
    ".svn",
    ".DS_Store",
    ".env",
    ".venv/",
    "venv/",
    "__pycache__/",
    "*.py[cod]",
    "*.egg-info/",
    ".eggs/",
    "/build/",
    "/dist/",
    ".tox/",
    ".nox/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".hypothesis/",
    ".ipynb_checkpoints/",
    "node_modules/",
    ".coverage",
    "*.swp",
    "*~",
)


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    folders_only: bool
    keeps: bool


class Ignored:
    """The patterns of one file, or of one list."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: Sequence[_Rule] = [rule for line in lines if (rule := _rule(line))]

    def verdict(self, path: str, *, folder: bool) -> bool | None:
        """True: left out, False: kept, None: no pattern says anything. `path` is relative to the folder of
        the patterns, with slashes. What is in an ignored folder is never asked about."""
        # "Within one level of precedence, the last matching pattern decides the outcome."
        for rule in reversed(self._rules):
            if (folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                return not rule.keeps
        return None

    def __call__(self, path: str, *, folder: bool) -> bool:
        return self.verdict(path, folder=folder) is True


def ignore_lines(folder: Path) -> Sequence[str]:
    """Of its .gitignore; git doesn't follow one that is a link. Raises Refused where it isn't UTF-8."""
    file = folder / ".gitignore"
    if file.is_symlink() or not file.is_file():
        return ()
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise Refused(".gitignore is not text in UTF-8", place=str(folder)) from None


def _rule(line: str) -> _Rule | None:
    line = line.rstrip("\r\n")
    line = line if line.endswith("\\ ") else line.rstrip(" ")
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    body = line.removeprefix("!")
    folders_only = body.endswith("/")
    body = body.rstrip("/")
    # "If there is a separator at the beginning or middle … the pattern is relative to the directory level".
    anywhere = "/" not in body
    body = body.removeprefix("/")
    if not body:
        return None
    try:
        pattern = re.compile(("(?:.*/)?" if anywhere else "") + _translated(body))
    except re.error:
        # A range that runs backwards: git passes over such a line, too.
        return None
    return _Rule(pattern, folders_only, keeps)


def _translated(pattern: str) -> str:
    out = []
    for token in re.findall(r"^\*\*/|/\*\*/|/\*\*$|\\.|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        match token:
            case "**/":
                out.append("(?:.*/)?")
            case "/**/":
                out.append("/(?:.*/)?")
            case "/**":
                out.append("/.*")
            case "*":
                out.append("[^/]*")
            case "?":
                out.append("[^/]")
            case _ if token.startswith("[") and len(token) > 2:
                inside = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
                out.append(f"(?!/)[^{inside[1:]}]" if inside.startswith("!") else f"(?!/)[{inside}]")
            case _:
                out.append(re.escape(token[-1]))
    return "".join(out)
