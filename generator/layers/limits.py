"""What a layer may cost before reading it is refused. Images are untrusted, and compression multiplies."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import Refused

MIB = 1 << 20


class LimitPassed(Refused):
    """A layer was left unread, or half read, because it is larger than anything sane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes. `compressed` and `decompressed` are per layer. `ratio` (decompressed to compressed)
    counts only once `ratio_from` bytes came out: small layers of zeros are legitimate. `header` is the
    payload of one long name or PAX header, `file` a wanted file, `nodes` how many paths are remembered."""

    compressed: int = 64 << 30
    decompressed: int = 128 << 30
    ratio: int = 300
    ratio_from: int = 512 * MIB
    members: int = 5_000_000
    header: int = MIB
    file: int = MIB
    nodes: int = 1_000_000


DEFAULT = Limits()
