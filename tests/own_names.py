"""What names the machine that the tests run on."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path


def told(text: str | bytes, *paths: Path) -> list[str]:
    """Which of the paths, the user and the host a text names. A host's short name within a longer word, such
    as a run's id, is not it."""
    searched = text if isinstance(text, bytes) else text.encode()
    words = [name.encode() for name in (getpass.getuser(), socket.gethostname())]
    found = [word for word in words if re.search(rb"(?<!\w)" + re.escape(word) + rb"(?!\w)", searched)]
    found += [path for path in map(bytes, paths) if path in searched]
    return [each.decode() for each in found]
