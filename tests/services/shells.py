"""POSIX shells that other machines have: what runs there has to run in each."""

from __future__ import annotations

from types import MappingProxyType

from services.install import need
from services.shared import Shared

# Name → Debian's package, and what follows the program on the command line.
SHELLS = MappingProxyType(
    {"dash": ("dash", []), "bash": ("bash", ["--posix"]), "busybox": ("busybox-static", ["sh"])}
)


def words_of(shared: Shared, name: str) -> list[str]:
    """The words that start it, installed where it is missing. Raises Unavailable."""
    package, more = SHELLS[name]
    return [str(need(shared, name, packages=[package])), *more]
