"""git, as tests run it: the name to commit under and the absence of settings come from `conftest.py`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def git(folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> str:
    """What it printed, without the last line's end; it must succeed."""
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
