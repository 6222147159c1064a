"""Files that are either old or new, never half of each."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

TEMPORARY = ".evaldock-"


def replace_file(path: Path, data: bytes) -> bool:
    """Makes `path` hold `data`; whether it had to change.

    What a killed process may leave begins with TEMPORARY, beside `path`.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            # The name must not outlive a power cut without the bytes.
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def _umask() -> int:
    # There is no way to ask without setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
