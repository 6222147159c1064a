"""Names of tar members: cleaned as container engines clean them, and text for what may not be UTF-8."""

from __future__ import annotations


def clean(name: bytes) -> bytes:
    """Relative to the root, without empty parts, `.` and `..`; `..` stops at the root."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def text(name: bytes) -> str:
    """Bytes that aren't UTF-8 become lone surrogates, so that different names stay different."""
    return name.decode("utf-8", "surrogateescape")
