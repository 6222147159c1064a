"""Where evaldock keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """The user's cache folder of evaldock, below it `parts`; not created here.

    EVALDOCK_CACHE names it outright; else it is `evaldock` in XDG_CACHE_HOME (which counts only when
    absolute, as the XDG base directory specification says), else in ~/.cache.
    """
    chosen = os.environ.get("EVALDOCK_CACHE")
    if chosen:
        return Path(chosen).expanduser().joinpath(*parts)
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path.home() / ".cache"
    return base.joinpath("evaldock", *parts)
