"""A blob in windows: fetched ahead of what reads them, hashed beside it, checked at the end.

The first windows are small, so that a file near the start of a layer costs little. A registry that ignores
ranges can only be read in order; then one window is fetched at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from catalog.errors import Refused, Unreachable
from generator.images.source import Descriptor, ImageSource, NoRanges
from generator.ladder.flights import Cancelled

_FIRST = (64 << 10, 1 << 20)
# Two of these under way keep a line with 50 ms of latency busy, and a process that reads below 64 MB.
_LARGE = 3 << 20
_AHEAD = 2


class Windows:
    """`early_exit`: the reader may stop at any moment, so it begins small and nothing is fetched ahead at
    first. `received` is called with the size of each window."""

    def __init__(
        self,
        source: ImageSource,
        layer: Descriptor,
        *,
        early_exit: bool,
        cancelled: threading.Event,
        received: Callable[[int], None],
    ) -> None:
        self._source = source
        self._layer = layer
        self._cancelled = cancelled
        self._received = received
        # Apart, because every thread that once held a window keeps some memory of that size for its next one.
        self._fetching = ThreadPoolExecutor(_AHEAD, thread_name_prefix="window")
        self._checking = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._sizes = iter(_FIRST) if early_exit else iter(())
        self._asked = 0  # bytes of the layer that were asked for
        self._waiting: deque[tuple[int, int, Future[bytes]]] = deque()
        self._in_order = False
        self._hash = hashlib.new(layer.digest.algorithm)
        self._hashing: Future[None] | None = None
        self._pieces = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fetching.shutdown(wait=True, cancel_futures=True)
        self._checking.shutdown(wait=True)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def verify(self) -> None:
        """Reads what is left, and raises Refused unless the layer's digest is that of its bytes."""
        for _ in self._pieces:
            pass
        if self._hashing is not None:
            self._hashing.result()
        if self._hash.hexdigest() != self._layer.digest.hex:
            raise Refused(
                f"the content of layer {self._layer.digest} doesn't match its digest",
                hint="somebody changed it on the way or at rest; nothing of it was used",
            )

    def _read(self) -> Iterator[bytes]:
        while self._asked < self._layer.size or self._waiting:
            if self._cancelled.is_set():
                raise Cancelled
            self._ask()
            data = self._next()
            self._received(len(data))
            if self._hashing is not None:
                self._hashing.result()
            self._hashing = self._checking.submit(self._hash.update, data)
            yield data
            del data  # or it would stay in memory while the next ones come

    def _ask(self) -> None:
        small = next(self._sizes, 0)
        if small:
            self._submit(small)
            return
        ahead = 0 if self._in_order else _AHEAD
        while len(self._waiting) <= ahead and self._asked < self._layer.size:
            self._submit(_LARGE)

    def _submit(self, size: int) -> None:
        size = min(size, self._layer.size - self._asked)
        future = self._fetching.submit(self._source.read_range, self._layer, self._asked, size)
        self._waiting.append((self._asked, size, future))
        self._asked += size

    def _next(self) -> bytes:
        start, size, future = self._waiting.popleft()
        try:
            data = future.result()
        except NoRanges:
            # Every window before this one was read by now, so that reading it is reading in order.
            self._in_order = True
            data = self._source.read_range(self._layer, start, size)
        if len(data) != size:
            raise Unreachable(
                f"layer {self._layer.digest} ends after {start + len(data)} of {self._layer.size} bytes"
            )
        return data
