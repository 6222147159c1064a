"""What commands print: safe text, colours, JSON, and the options that they share.

Text out of images, registries and files is untrusted. `safe` makes what could move a terminal's cursor,
reorder a line or start a workflow command visible instead; tables and fields pass everything through it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

# C0 but for newline and tab, DEL and C1 (U+009B alone starts a sequence), line and paragraph separators, the
# marks and overrides that reorder a line (Unicode's UAX 9), and lone surrogates, which no stream can encode.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# A GitHub runner reads commands out of a step's output: `::name::` where a line starts, `##[name]` anywhere.
_WORKFLOW_COMMAND = re.compile(r"^(\s*)::|##\[", re.MULTILINE)


def safe(text: str) -> str:
    """`text` with control characters shown as `\\x1b`; newlines and tabs stay."""
    if text.isprintable():
        return text
    return _HOSTILE.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """Safe, and every run of white space a single space."""
    return safe(" ".join(text.split()))


def out(text: str = "", *, err: bool = False) -> None:
    """Prints what is already safe. Colours go where they aren't wanted."""
    stream = sys.stderr if err else sys.stdout
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # A zero-width space keeps the runner from seeing a command and people from seeing a difference.
        text = _WORKFLOW_COMMAND.sub(_defused, text)
    click.echo(_encodable(text, stream), err=err, color=wants_colour(stream))


def _defused(match: re.Match[str]) -> str:
    return match.group().replace("::", "\u200b::").replace("##", "#\u200b#")


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def wants_colour(stream: TextIO) -> bool:
    """no-color.org: NO_COLOR wins, whatever its value, as long as there is one."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    return click.style(text, bold=True)


def dim(text: str) -> str:
    return click.style(text, dim=True)


def red(text: str) -> str:
    return click.style(text, fg="red")


def green(text: str) -> str:
    return click.style(text, fg="green")


def yellow(text: str) -> str:
    return click.style(text, fg="yellow")


def warn(message: str) -> None:
    """A line on stderr that stops nothing."""
    out(yellow(f"evaldock: warning: {safe(message)}"), err=True)


def note(message: str) -> None:
    out(f"evaldock: {safe(message)}", err=True)


def print_json(value: Any) -> None:
    """JSON that a terminal can show and any reader can read: what `safe` would change is escaped."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not unicode, indent=2)
    # Such characters, and "##[", can only stand inside strings: JSON's own escapes are the same text there.
    text = _HOSTILE.sub(lambda match: f"\\u{ord(match.group()):04x}", text.replace("##[", "#\\u0023["))
    click.echo(text)


def width() -> int | None:
    """Columns to fill: COLUMNS, else the terminal's; None (no limit) when the output goes elsewhere."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:
        return None


def catalog_option(command: Command) -> Command:
    return click.option(
        "--catalog",
        "catalog_dir",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Folder that holds mapping.toml.  [default: ., ./catalog, else the packaged one]",
    )(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
