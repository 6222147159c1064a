"""The body of a log, which has no end while its replica runs: read for so long, and no further."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# Seconds without a byte after which the log of a running replica is taken to be read up to now, and seconds
# for one that prints all the time.
PAUSE, SECONDS = 1.0, 5.0
# More than that isn't kept of one that has not ended.
BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """`until` is a time of the monotonic clock."""

    until: float
    most: int = BYTES

    @classmethod
    def of(cls, seconds: float | None = None, most: int = BYTES) -> Bounds:
        return cls(time.monotonic() + (SECONDS if seconds is None else seconds), most)


def read(response: Any, bounds: Bounds) -> tuple[bytes, bool]:
    """What came, and whether that is all there will ever be."""
    import requests  # noqa: PLC0415

    data = bytearray()
    _impatient(response)
    try:
        for chunk in response.iter_content(_size(response)):
            data += chunk
            if len(data) >= bounds.most or time.monotonic() >= bounds.until:
                return bytes(data[: bounds.most]), False
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return bytes(data), False
    return bytes(data), True


def _impatient(response: Any) -> None:
    """`requests` knows one time only to wait for the headers and for each part of the body. Where its inside
    is another one, or there is no body at all, that time holds."""
    with suppress(AttributeError):
        response.raw._fp.fp.raw._sock.settimeout(PAUSE)


def _size(response: Any) -> int | None:
    """Of the pieces to read; None takes the server's own as they come."""
    if response.raw.chunked:
        return None
    # What has no length goes on until the connection ends: a larger piece would be waited for.
    return 1 << 16 if "Content-Length" in response.headers else 1
