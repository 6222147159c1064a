"""Makes a wrapper ready for `evaldock pack`: its folder, with the framework.yml of the wheel that it wraps.

    python catalog/harnesses/prepare.py catalog/harnesses/mmath build/harnesses/mmath

The wheel is the first line of the wrapper's requirements.in, with a hash that its requirements.txt pins. It
comes from PyPI, or is the FILE of `--wheel FILE`. Standard library and pip alone.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

COPIED = ("Dockerfile", "README.md", "requirements.txt")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wrapper", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--wheel", type=Path)
    options = parser.parse_args()
    pin = pinned(options.wrapper)
    with tempfile.TemporaryDirectory() as folder:
        definition = definition_in(checked(options.wheel or download(pin, Path(folder)), pin))
    options.target.mkdir(parents=True, exist_ok=True)
    (options.target / "framework.yml").write_bytes(definition)
    for name in COPIED:
        shutil.copy2(options.wrapper / name, options.target / name)


def pinned(wrapper: Path) -> str:
    """The wrapped requirement with its hashes, as requirements.txt has it."""
    wrapped = (wrapper / "requirements.in").read_text().split()[0]
    locked = (wrapper / "requirements.txt").read_text()
    block = re.search(rf"^{re.escape(wrapped)} (?:\\\n +--hash=\S+ ?)+", locked, re.MULTILINE)
    if block is None:
        raise SystemExit(f"{wrapper / 'requirements.txt'} does not pin {wrapped}; `make lock` does")
    return block[0]


def download(pin: str, folder: Path) -> Path:
    (folder / "wanted.txt").write_text(pin)
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "--disable-pip-version-check",
                "--no-input",
                "download",
                "--quiet",
            ),
            *("--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--requirement", str(folder / "wanted.txt"), "--dest", str(folder)),
        ],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def checked(wheel: Path, pin: str) -> Path:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if f"--hash=sha256:{digest}" not in pin.split():
        raise SystemExit(f"{wheel} is not the wheel that is pinned: its sha256 is {digest}")
    return wheel


def definition_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if re.fullmatch(r"core_evals/[^/]+/framework\.yml", n)]
        if len(names) != 1:
            raise SystemExit(f"{wheel} has {len(names)} framework.yml files below core_evals/, expected one")
        return archive.read(names[0])


if __name__ == "__main__":
    main()
