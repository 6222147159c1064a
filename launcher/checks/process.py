"""Whether harnesses can be installed and run on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

from catalog.cachedir import cache_dir
from launcher.checks.answers import Check, Subject, fail, folder, ok


def checks(_subject: Subject) -> Iterator[Check]:
    yield _installer()
    yield folder("environments", cache_dir("environments"), "point EVALDOCK_CACHE at a folder of yours")


def _installer() -> Check:
    found = shutil.which("uv")
    if found:
        return ok("installer", f"uv ({found})")
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return ok("installer", "venv and pip (uv would be faster)")
    return fail(
        "installer",
        "neither uv nor Python's venv with pip is there, so no harness can be installed",
        "pip install uv, or on Debian: apt install python3-venv",
    )
