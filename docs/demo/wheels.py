"""Wheels from PyPI, each with the hash that a requirements file pins."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def download(requirements: Path, folder: Path) -> list[Path]:
    """The wheels that `requirements` names, in its order. What `folder` holds already, with the right hash,
    is not asked for again. Raises CalledProcessError when pip fails."""
    folder.mkdir(parents=True, exist_ok=True)
    text = requirements.read_text()
    if not all(_wheels(text, folder)):
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"),
                *("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"),
                *("--requirement", str(requirements), "--dest", str(folder)),
            ],
            check=True,
        )
    wheels = _wheels(text, folder)
    found = [wheel for wheel in wheels if wheel]
    if len(found) < len(wheels):
        raise FileNotFoundError(f"pip left a wheel of {requirements} out of {folder}")
    return found


def _wheels(text: str, folder: Path) -> list[Path | None]:
    hashes = set(_HASH.findall(text))
    found: list[Path | None] = []
    for pin in _PIN.finditer(text):
        start = f"{pin['name'].replace('-', '_')}-{pin['version']}-"
        wheels = (p for p in sorted(folder.glob("*.whl")) if p.name.startswith(start))
        found.append(next((w for w in wheels if _sha256(w) in hashes), None))
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
