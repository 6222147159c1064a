"""Reading a stored file against the checksum it was published with.

A small file is read and checked whole before its first byte is given out. A large one is checked while it is
read from its beginning to its end: the last read fails where it was damaged. Who jumps about in a large file
gets what is stored there, of which only the size is known to be right; `whole` checks it first.
"""

from __future__ import annotations

import hashlib
import io
from typing import IO, Any

from launcher.artifacts.names import ArtifactDamaged

SMALL = 16 << 20
_CHUNK = 1 << 20


def verified(file: IO[bytes], checksum: str, size: int, name: str, *, whole: bool = False) -> IO[bytes]:
    """Takes `file` over. `checksum` is an algorithm of hashlib, a colon, and hex digits. Raises
    ArtifactDamaged, now or when the damage is met."""
    algorithm, _, expected = checksum.partition(":")
    hashing = hashlib.new(algorithm, usedforsecurity=False)
    if size <= SMALL:
        with file:
            data = file.read(size + 1)
        hashing.update(data)
        if hashing.hexdigest() != expected:
            raise _damaged(name)
        return io.BytesIO(data)
    try:
        if file.seek(0, io.SEEK_END) != size:
            raise _damaged(name)
        file.seek(0)
        if whole:
            while chunk := file.read(_CHUNK):
                hashing.update(chunk)
            if hashing.hexdigest() != expected:
                raise _damaged(name)
            file.seek(0)
            return file
    except BaseException:
        file.close()
        raise
    return io.BufferedReader(_Checked(file, hashing, expected, size, name), _CHUNK)


def _damaged(name: str) -> ArtifactDamaged:
    return ArtifactDamaged(
        f"{name} is not what was published: its size or checksum differs",
        hint="publish it again; versions before it may be whole",
    )


class _Checked(io.RawIOBase):
    """`checked` is how far the file has been read without a gap."""

    def __init__(self, file: IO[bytes], hashing: Any, expected: str, size: int, name: str) -> None:
        super().__init__()
        self._file, self._hash, self._expected, self._size, self._name = file, hashing, expected, size, name
        self._checked, self._at = 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = self._file.seek(offset, whence)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        if self._at <= self._checked < self._at + len(data):
            self._hash.update(data[self._checked - self._at :])
            self._checked = self._at + len(data)
            if self._checked == self._size and self._hash.hexdigest() != self._expected:
                raise _damaged(self._name)
        self._at += len(data)
        if len(buffer) and not data and self._at < self._size:
            raise _damaged(self._name)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
