"""One read where several want the same: the others wait for it instead of reading too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):
    """The answer is known without this read. Never leaves the ladder."""


class _Landing(Generic[T]):
    def __init__(self) -> None:
        self.over = threading.Event()
        self.result: T | None = None


class Flights(Generic[T]):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, _Landing[T]] = {}

    def once(
        self,
        key: Hashable,
        known: Callable[[], T | None],
        read: Callable[[], T],
        cancelled: threading.Event,
        *,
        shared: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """What is `known`, else what `read` gives, which only one thread at a time calls for a key.

        Whoever waited in vain, since the read failed or its result isn't to be `shared`, reads for itself:
        its own way to the same content may be a better one. Raises Cancelled, besides what `read` raises.
        """
        while True:
            with self._lock:
                landing = self._under_way.get(key)
                first = landing is None
                if landing is None:
                    landing = self._under_way[key] = _Landing()
            if first:
                try:
                    result = known()
                    if result is None:
                        result = read()
                    landing.result = result if shared(result) else None
                    return result
                finally:
                    with self._lock:
                        del self._under_way[key]
                    landing.over.set()
            while not landing.over.wait(0.1):
                if cancelled.is_set():
                    raise Cancelled
            if landing.result is not None:
                return landing.result
