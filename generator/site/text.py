"""Text from images made fit to show: it may hold anything, control characters and whole books included."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

# Category Cc but tab and newline: terminals and browsers act on them; lone surrogates can't be encoded;
# the bidirectional controls make text read differently from what it is.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """Without control characters; line ends as `\\n`."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def plain(text: str) -> str:
    """As one line."""
    return _SPACE.sub(" ", clean(text)).strip()


def one_line(text: str) -> str:
    """As one line of prose: a description that is a list begins without its first hyphen."""
    return plain(text).removeprefix("- ")


def shorten(text: str, length: int) -> str:
    """At most `length` characters, cut at a word where there is one near, with an ellipsis."""
    if len(text) <= length:
        return text
    cut = text[: length - 1]
    space = cut.rfind(" ")
    if space > length * 2 // 3:
        cut = cut[:space]
    # A combining mark after the cut would have belonged to the letter before it.
    while cut and unicodedata.combining(text[len(cut)]):
        cut = cut[:-1]
    return cut.rstrip(" ,;:.-") + "…"


def web_address(text: str | None) -> str | None:
    """`text` if it is an http or https address with a host, else None: nothing else becomes a link."""
    if not text:
        return None
    text = text.strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    return None if re.search(r"[\s<>\"'`\\\x00-\x1f\x7f]", text) else text
