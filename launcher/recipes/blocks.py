"""Inline metadata of Python scripts: the comment blocks of PEP 723.

Line by line instead of by the PEP's regular expression (which tests hold this to): an unfinished block can be
told, with its line, and a long run of comments takes no time.
"""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass

from catalog.errors import InvalidInput

SCRIPT = "script"
_OPENING = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_CLOSING = "# ///"
# What was meant as an opening line of the one type that tools read.
_ALMOST = re.compile(r"\s*#\s*/{2,4}\s*script\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`content` without the comment marks. `line` is the script's 1-based line of its first line."""

    type: str
    content: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """`unfinished` are opening lines without a closing one: 1-based line and type."""

    whole: tuple[Block, ...]
    unfinished: tuple[tuple[int, str], ...] = ()


def find_blocks(text: str) -> Blocks:
    """Every block of `text`, whose lines end with a newline alone."""
    lines = text.split("\n")
    comments = _comment_lines(text) if any(map(_OPENING.fullmatch, lines)) else None
    whole: list[Block] = []
    unfinished: list[tuple[int, str]] = []
    at = 0
    while at < len(lines):
        opening = _OPENING.fullmatch(lines[at])
        if opening is None or (comments is not None and at + 1 not in comments):
            at += 1
            continue
        # "If there are characters after the # then the first character MUST be a space."
        end = at + 1
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        # "Precedence for an ending line # /// is given when the next line is not a valid embedded content
        # line": the last one of the run closes, and there is at least one line of content.
        closing = next((n for n in range(end - 1, at + 1, -1) if lines[n] == _CLOSING), None)
        if closing is None:
            unfinished.append((at + 1, opening[1]))
            at = end
            continue
        # "The content … is obtained by taking away the first two characters of each line if the second
        # character is a space, otherwise just the first character."
        content = "".join(f"{line[2:]}\n" for line in lines[at + 1 : closing])
        whole.append(Block(type=opening[1], content=content, line=at + 2))
        at = closing + 1
    return Blocks(whole=tuple(whole), unfinished=tuple(unfinished))


def script_block(text: str, place: str) -> Block | None:
    """The one block of type `script`, None where the script has none.

    Raises InvalidInput for two of them and for one that isn't closed.
    """
    found = find_blocks(text)
    # "When there are multiple comment blocks of the same TYPE defined, tools MUST produce an error."
    own = [block for block in found.whole if block.type == SCRIPT]
    problems = [_unfinished(text, line) for line, kind in found.unfinished if kind == SCRIPT]
    if len(own) > 1:
        places = " and ".join(str(block.line - 1) for block in own)
        problems.append(
            f"lines {places}: {len(own)} blocks of type script; a script has one at most: join them"
        )
    if problems:
        raise InvalidInput("its inline metadata (PEP 723) can't be read:", problems, place=place)
    return own[0] if own else None


def almost_a_block(text: str) -> int | None:
    """The 1-based line that looks as if it were to open a `script` block and doesn't."""
    for number, line in enumerate(text.split("\n"), start=1):
        if _ALMOST.fullmatch(line):
            return number
    return None


def _unfinished(text: str, line: int) -> str:
    lines = text.split("\n")
    end = line
    while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
        end += 1
    wrong = lines[end] if end < len(lines) else ""
    if wrong.startswith("#"):
        return f"line {end + 1}: {wrong!r:.60} ends the block that line {line} opens: put a space after the #"
    return f"line {line}: the block is not closed; end it with a line '{_CLOSING}'"


def _comment_lines(text: str) -> set[int] | None:
    """The lines that a comment begins, since "comment blocks" in a string are none; None for a text that is
    no Python that this Python reads."""
    try:
        return {
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT and token.start[1] == 0
        }
    except (tokenize.TokenError, SyntaxError):
        return None
