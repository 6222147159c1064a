"""What `~/.ssh/config` says of a host, with the files that it includes."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import UsageError

CONFIG = "~/.ssh/config"
# Another file instead, where who runs this is nobody with a home: a step of a workflow.
CONFIG_VARIABLE = "EVALDOCK_SSH_CONFIG"
# As many files as OpenSSH reads within each other.
_DEEPEST = 16
_BLOCK = re.compile(r"\s*(?:host|match)\b", re.IGNORECASE)
_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_ACTIVE = "EvaldockReadsOn"


def configured(paramiko: Any, name: str) -> Mapping[str, Any]:
    """Raises UsageError for a configuration that can't be read."""
    path = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG).expanduser()
    if not path.is_file():
        return {}
    lines: list[str] = []
    try:
        _read(paramiko, path, name, lines, "Host *")
        found: Mapping[str, Any] = paramiko.SSHConfig.from_text("\n".join(lines)).lookup(name)
    except (paramiko.SSHException, ImportError, ValueError, OSError) as error:
        raise UsageError(f"it can't be read: {error}", place=CONFIG) from None
    return found


def _read(paramiko: Any, path: Path, name: str, lines: list[str], block: str, *, depth: int = 0) -> None:
    """Adds the file's lines, each `Include` replaced, which paramiko passes over: see ssh_config(5)."""
    if depth == _DEEPEST:
        raise UsageError(f"Include leads through more than {_DEEPEST} files", place=str(path))
    for line in path.read_text("utf-8", "surrogateescape").splitlines():
        include = _INCLUDE.fullmatch(line)
        if include is None:
            block = line if _BLOCK.match(line) else block
            lines.append(line)
        # What is included holds no further than the block in which it stands, and leaves it as it was.
        elif _is_active(paramiko, name, lines):
            for each in _included(include[1]):
                _read(paramiko, each, name, lines, block, depth=depth + 1)
                lines.append(block)


def _is_active(paramiko: Any, name: str, lines: list[str]) -> bool:
    """Whether a line that came next would be about this host."""
    config = paramiko.SSHConfig.from_text("\n".join([*lines, f"{_ACTIVE} yes"]))
    return _ACTIVE.lower() in config.lookup(name)


def _included(words: str) -> Iterator[Path]:
    home = Path("~/.ssh").expanduser()
    for word in shlex.split(words, comments=True):
        pattern = home / os.path.expandvars(Path(word).expanduser())
        yield from (path for path in map(Path, sorted(glob.glob(str(pattern)))) if path.is_file())  # noqa: PTH207 # absolute, from the root on
