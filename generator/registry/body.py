"""The body of one answer, counted and bounded while it is read."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import requests

from catalog.errors import Refused, Unreachable
from generator.images.source import Cost
from generator.registry.urls import shown

_PIECE = 64 * 1024
_COMPLAINT = 4096


class Broken(Exception):
    """A body that ended early; worth another try."""


class Meter:
    """Adds to a Cost from any thread."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._lock = threading.Lock()

    def request(self) -> None:
        with self._lock:
            self.cost.requests += 1

    def received(self, count: int) -> None:
        with self._lock:
            self.cost.bytes += count


class Body:
    """`status` and `headers` with what follows them. Closed by who fetched it, unless someone keeps it."""

    def __init__(self, response: requests.Response, meter: Meter, *, patience: float, slowest: float) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.url = response.url
        self.kept = False
        self._response = response
        self._meter = meter
        self._patience = patience
        self._slowest = slowest
        self._waited = 0.0
        self._received = 0

    def keep(self) -> None:
        """From now on the caller closes it; the connection stays with it."""
        self.kept = True

    def close(self) -> None:
        raw: Any = self._response.raw
        if raw.length_remaining == 0:
            # Only a read that finds the end hands the connection back for the next request.
            raw.read1(1, decode_content=False)
        self._response.close()

    def all(self, limit: int, what: str) -> bytes:
        """Everything. Raises Refused beyond `limit` bytes."""
        stated = self.headers.get("Content-Length", "")
        if stated.isdecimal() and int(stated) > limit:
            raise Refused(f"{what} has {stated} bytes; at most {limit} are read", place=shown(self.url))
        data = self.read(limit + 1)
        if len(data) > limit:
            raise Refused(f"{what} has more than {limit} bytes", place=shown(self.url))
        return data

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer only at the end."""
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused("the server compresses what was asked for as it is", place=shown(self.url))
        data = bytearray()
        while len(data) < count and (piece := self._piece(count - len(data))):
            data += piece
        return bytes(data)

    def exactly(self, count: int) -> bytes:
        data = self.read(count)
        if len(data) != count:
            raise Broken(f"the body ended after {len(data)} of {count} bytes")
        return data

    def skip(self, count: int) -> None:
        while count > 0:
            piece = self._piece(count)
            if not piece:
                raise Broken(f"the body ended {count} bytes early")
            count -= len(piece)

    def complaint(self) -> str:
        """What an error answer says: the distribution-spec's error code and message, or nothing."""
        try:
            text = self.read(_COMPLAINT)
            errors: Any = json.loads(text)["errors"]
            said = f"{errors[0].get('code', '')} {errors[0].get('message', '')}"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, Refused):
            return ""
        return " ".join("".join(c if c.isprintable() else " " for c in said).split())[:200]

    def _piece(self, most: int) -> bytes:
        started = time.monotonic()
        # read1 returns what has come; read would wait for all of it, however slowly it trickles in.
        piece: bytes = self._response.raw.read1(min(most, _PIECE), decode_content=False)
        self._waited += time.monotonic() - started
        self._received += len(piece)
        self._meter.received(len(piece))
        if self._waited > self._patience + self._received / self._slowest:
            raise Unreachable(
                f"the server sends too slowly: {self._received} bytes in {self._waited:.0f} seconds",
                place=shown(self.url),
                hint="try again later, or over another connection",
            )
        return piece
