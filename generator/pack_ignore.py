"""Which files of a harness folder stay out of its image: what tools leave behind, and what .gitignore names.

Source: gitignore(5), as far as one .gitignore at the top of the folder goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    """The patterns of `LEFT_OUT`, then those of `lines`."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules: Sequence[_Rule] = [rule for line in (*LEFT_OUT, *lines) if (rule := _rule(line))]

    def __call__(self, path: str, *, folder: bool) -> bool:
        """`path` is relative to the harness folder, with slashes. What is in an ignored folder is never asked
        about."""
        ignored = False
        # "Within one level of precedence, the last matching pattern decides the outcome."
        for rule in self._rules:
            if (folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                ignored = not rule.keeps
        return ignored


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
    return _Rule(re.compile(("(?:.*/)?" if anywhere else "") + _translated(body)), folders_only, keeps)


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
