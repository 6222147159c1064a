"""YAML that everybody reads alike: the text of IR files.

Plain data in, block style out. A text stands unquoted only when no YAML 1.1 or 1.2 reader takes it for
anything else, so `yes`, `1:20`, `0o7`, `1e3`, `2024-07-01`, `~` and their like are always quoted. Nothing
depends on a YAML library, a Python version or a locale: equal data gives equal bytes.

A sealed text starts with a comment that holds the sha256 of every byte below it, so an edit by hand shows.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WIDTH = 100
_SEAL = re.compile(rb"# evaldock: generated, not for editing; sha256 of what follows: ([0-9a-f]{64})\n")

# A letter first keeps out numbers, dates, `~`, `=`, `<<`, `-` and every indicator.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./()+~%@-]*(?:[ :][A-Za-z0-9_./()+~%@-]+)*")
# What YAML 1.1 calls booleans and nulls; 1.2 calls a part of them so.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# Control, invisible and direction-changing characters, line breaks of YAML 1.1, what YAML forbids.
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\uffff"
)
_ESCAPED = re.compile(f'["\\\\\t\n{_UNSEEN}\U000e0000-\U000e0fff]')
_NOT_IN_BLOCK = re.compile(f"[{_UNSEEN}\U000e0000-\U000e0fff]")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_SURROGATE = re.compile("[\ud800-\udfff]")


class DateText(str):
    """The text of an unquoted YAML date or time, as a template renders it (`2024-07-01`)."""

    __slots__ = ()


def dump(data: Mapping[str, Any]) -> str:
    """The text of `data`, a mapping of plain JSON data, ending in a newline; keys in the order they have.
    A DateText stands unquoted.

    Raises ValueError for what JSON could not hold either: other types, infinite numbers, lone surrogates.
    """
    return "".join(f"{line}\n" for line in _mapping(data, ""))


def seal(body: str) -> bytes:
    """`body` under the comment that holds its checksum."""
    data = body.encode()
    digest = hashlib.sha256(data).hexdigest()
    return f"# evaldock: generated, not for editing; sha256 of what follows: {digest}\n".encode() + data


def sealed(data: bytes) -> bool | None:
    """True when the checksum in the first line is that of the rest, False when not, None when there
    is no such line."""
    found = _SEAL.match(data)
    if found is None:
        return None
    return hashlib.sha256(data[found.end() :]).hexdigest() == found[1].decode()


def _mapping(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        if not isinstance(key, str):
            raise ValueError(f"a key that is not text: {key!r}")
        name = _plain_or_quoted(key)
        # "If the ? indicator is omitted, parsing needs to see past the implicit key […] limited to a single
        # line and must not span more than 1024 Unicode characters" (YAML 1.2, 8.2.2)
        if len(name) > 1000:
            yield f"{indent}? {name}"
            name = ""
        yield from _entry(f"{indent}{name}:", value, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    deeper = f"{indent}  "
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, deeper)
    elif isinstance(value, list | tuple) and value:
        yield head
        yield from _sequence(value, deeper)
    else:
        yield from _scalar(f"{head} ", value, deeper)


def _sequence(items: Sequence[Any], indent: str) -> Iterator[str]:
    deeper = f"{indent}  "
    for item in items:
        if isinstance(item, Mapping) and item:
            lines = _mapping(item, deeper)
            yield f"{indent}- {next(lines)[len(deeper) :]}"
            yield from lines
        elif isinstance(item, list | tuple) and item:
            yield f"{indent}-"
            yield from _sequence(item, deeper)
        else:
            yield from _scalar(f"{indent}- ", item, deeper)


def _scalar(head: str, value: Any, indent: str) -> Iterator[str]:
    """`indent` is that of the lines of a block text below `head`."""
    if isinstance(value, DateText):
        yield f"{head}{value}"
    elif isinstance(value, str):
        if "\n" in value and _fits_literal(value):
            yield f"{head}|{'' if value.endswith(chr(10)) else '-'}"
            yield from (f"{indent}{line}" if line else "" for line in value.removesuffix("\n").split("\n"))
        elif len(head) + len(value) > WIDTH and _fits_folded(value):
            yield f"{head}>-"
            yield from (f"{indent}{line}" for line in _fold(value, WIDTH - len(indent)))
        else:
            yield f"{head}{_plain_or_quoted(value)}"
    else:
        yield f"{head}{_atom(value)}"


def _atom(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        # 1e-07 is a number to YAML 1.2 and a text to 1.1, which wants a point.
        return text if "." in text else text.replace("e", ".0e")
    if isinstance(value, Mapping) and not value:
        return "{}"
    if isinstance(value, list | tuple) and not value:
        return "[]"
    raise ValueError(f"not plain data: {value!r:.80}")


def _plain_or_quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if _SURROGATE.search(text):
        raise ValueError("a text with half of a surrogate pair")
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _fits_literal(text: str) -> bool:
    # A first line that starts with a space or is empty needs an indentation indicator; lines of nothing but
    # spaces and further newlines at the end are where readers differ. Such texts are quoted.
    lines = text.removesuffix("\n").split("\n")
    return (
        not _NOT_IN_BLOCK.search(text)
        and not _SURROGATE.search(text)
        and lines[0][:1] not in ("", " ", "\t")
        and lines[-1] != ""
        and all(not line or line.strip(" \t") for line in lines)
    )


def _fits_folded(text: str) -> bool:
    return (
        "\n" not in text
        and " " in text
        and not _NOT_IN_BLOCK.search(text)
        and not _SURROGATE.search(text)
        and text == text.strip(" \t")
    )


def _fold(text: str, width: int) -> Iterator[str]:
    """Lines that a reader joins by one space each: breaks only at single spaces, as "folding only applies to
    line breaks separating lines starting with a non-space character" (YAML 1.2, 8.1.3)."""
    line = ""
    for word in re.split(r"(?<![ \t]) (?![ \t])", text):
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line
