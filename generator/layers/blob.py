"""A layer's stored bytes as a stream, whatever pieces they arrive in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_NOTHING = memoryview(b"")


class BlobStream:
    """Reads pieces as they come; holds one of them. `consumed` counts bytes handed out."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._piece = _NOTHING
        self.consumed = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes without taking them; fewer only at the end."""
        while len(self._piece) < size:
            more = next(self._pieces, b"")
            if not more:
                break
            self._piece = memoryview(bytes(self._piece) + more) if self._piece else memoryview(more)
        return bytes(self._piece[:size])

    def read(self, size: int = -1) -> bytes:
        """At least one byte and at most `size` of them; nothing only at the end."""
        return bytes(self._take(size))

    read1 = read

    def _take(self, size: int) -> memoryview:
        if not self._piece:
            self._piece = _NOTHING  # lets go of the last piece before the next one comes
            self._piece = memoryview(next(self._pieces, b""))
        taken = self._piece if size < 0 else self._piece[:size]
        self._piece = self._piece[len(taken) :]
        self.consumed += len(taken)
        return taken
