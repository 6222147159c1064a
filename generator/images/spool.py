"""A temporary file for what has to be read at random and can't be: without a name, gone when it is closed,
and never the reason why a disk runs full."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from typing import BinaryIO

from catalog.errors import Refused

# Left free for everybody else on the same disk.
_RESERVE = 1 << 30
_CHECK_EVERY = 64 << 20


def spool(chunks: Iterable[bytes], *, limit: int, place: str) -> BinaryIO:
    """The chunks as a file. Raises Refused beyond `limit` bytes, or when the disk would run full."""
    file: BinaryIO = tempfile.TemporaryFile(prefix="evaldock-")  # noqa: SIM115 # returned
    try:
        written, checked = 0, -_CHECK_EVERY
        for chunk in chunks:
            if written - checked >= _CHECK_EVERY:
                need_space(len(chunk), place)
                checked = written
            written += len(chunk)
            if written > limit:
                raise Refused(f"more than {limit} bytes unpacked", place=place)
            file.write(chunk)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def need_space(size: int, place: str) -> None:
    """Raises Refused when `size` bytes don't fit into the folder of temporary files."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free - _RESERVE
    if size > free:
        raise Refused(
            f"a temporary copy takes {size >> 20} MiB, and {folder} has {max(free, 0) >> 20} MiB to spare",
            place=place,
            hint="set TMPDIR to a folder on a larger disk, or push the image to a registry and read it there",
        )
