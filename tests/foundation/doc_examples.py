"""Runs the examples of a documentation page, in the page's order, in one folder.

Two kinds of code blocks count. One with a `:caption:` is a file to write (again). A `console` block holds
commands after `$ `, with what they print; in that, `…` stands for anything. A command without output below it
may print what it likes, but must succeed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^ *(?P=fence) *$", re.M | re.S
)
_CAPTION = re.compile(r"\A:caption: (?P<path>\S+)\n+")


@dataclass(frozen=True, slots=True)
class File:
    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Command:
    """`printed` is None where the page shows nothing."""

    line: str
    printed: str | None


def examples(page: str) -> Iterator[File | Command]:
    for block in _BLOCK.finditer(page):
        indent = len(block["indent"])
        body = "".join(line[indent:] or "\n" for line in block["body"].splitlines(keepends=True))
        if caption := _CAPTION.match(body):
            yield File(caption["path"], body[caption.end() :])
        elif block["info"].strip() == "console":
            yield from _commands(body)


def _commands(body: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
        line, _, printed = part.partition("\n")
        yield Command(line, printed.rstrip() or None)


def run(page: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """The number of commands that ran. Raises AssertionError when one prints what the page doesn't say."""
    ran = 0
    where = folder  # kept from command to command, so that `cd` works as a reader expects
    for example in examples(page.read_text()):
        if isinstance(example, File):
            target = where / example.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(example.content)
            continue
        done = subprocess.run(
            ["bash", "-c", f"{example.line}\nstatus=$?\npwd > {folder}/.where\nexit $status"],
            cwd=where,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        where = Path((folder / ".where").read_text().strip())
        ran += 1
        if example.printed is None:
            assert done.returncode == 0, f"{page.name}: $ {example.line}\n{done.stdout}"
        else:
            said = f"--- the page says\n{example.printed}\n--- it printed\n{done.stdout}"
            assert matches(example.printed, done.stdout), f"{page.name}: $ {example.line}\n{said}"
    return ran


def matches(shown: str, printed: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
    lines = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, lines, re.S) is not None
