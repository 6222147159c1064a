"""The members of an uncompressed tar file, read at random: indexed once, nothing written to disk."""

from __future__ import annotations

import posixpath
import tarfile
from typing import BinaryIO

from catalog.errors import NotFound, Refused
from generator.images.oci_layout import read_at

_MOST_MEMBERS = 20_000
_MOST_HOPS = 8
# tarfile reads a long name or a PAX header whole, however long it claims to be.
_HEADER_LIMIT = 1 << 20


class TarFiles:
    """Files by name, without `./`. Links lead to other members only: `docker save` writes one for a layer
    that an image has twice. Implements `LayoutFiles`; `file` belongs to it."""

    def __init__(self, file: BinaryIO, *, place: str) -> None:
        """Raises Refused for what isn't a tar file."""
        self._file = file
        self._place = place
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            self._read_headers()
        except (tarfile.TarError, ValueError, OSError) as error:
            file.close()
            raise Refused(f"not a readable tar file: {error}", place=place) from None
        except BaseException:
            file.close()
            raise

    def size(self, name: str) -> int:
        """In bytes. Raises NotFound."""
        return self._find(name)[1]

    def read(self, name: str, start: int, length: int) -> bytes:
        offset, size = self._find(name)
        wanted = max(0, min(length, size - start))
        data = read_at(self._file.fileno(), offset + start, wanted)
        if len(data) != wanted:
            raise Refused(f"the archive ends within {name}", place=self._place)
        return data

    def names(self) -> frozenset[str]:
        return frozenset(self._members) | frozenset(self._links)

    def close(self) -> None:
        self._file.close()

    def _find(self, name: str) -> tuple[int, int]:
        for _ in range(_MOST_HOPS):
            if name in self._members:
                return self._members[name]
            name = self._links.get(name, "")
        raise NotFound(f"no {name or 'such file'} in the archive", place=self._place)

    def _read_headers(self) -> None:
        self._file.seek(0)
        with tarfile.open(fileobj=_HeadersOnly(self._file), mode="r:") as archive:  # type: ignore[call-overload] # reads, seeks and tells
            while (member := archive.next()) is not None:
                if len(self._members) + len(self._links) >= _MOST_MEMBERS:
                    raise Refused(f"more than {_MOST_MEMBERS} members", place=self._place)
                name = posixpath.normpath(member.name).lstrip("/")
                # In a tar the last member of a name is the one that counts.
                self._members.pop(name, None)
                self._links.pop(name, None)
                if member.isreg() and not member.issparse():
                    self._members[name] = (member.offset_data, member.size)
                elif member.issym():
                    self._links[name] = posixpath.normpath(
                        posixpath.join(posixpath.dirname(name), member.linkname)
                    )
                elif member.islnk():
                    self._links[name] = posixpath.normpath(member.linkname)


class _HeadersOnly:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_LIMIT:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)
