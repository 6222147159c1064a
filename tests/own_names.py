"""What names the machine that the tests run on."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path


def told(text: str | bytes, *paths: Path) -> list[str]:
    """Which of the paths, the user and the host a text names. A host's short name within a longer word, such
    as a run's id, is not it. `root` may be meant of any machine."""
    searched = text if isinstance(text, bytes) else text.encode()
    users = {getpass.getuser()} - {"root"}
    names = [*map(str, paths), *users, socket.gethostname()]
    return [
        name for name in names if re.search(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)", searched)
    ]
