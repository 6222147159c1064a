"""`make demo`: a catalog of real harnesses and its site, made as a user would make them.

Without root, container engine or registry: the harnesses' wheels come from PyPI, their framework files are
packed into `oci:` layouts, and from there on everything is `evaldock sync` and `evaldock build`.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from docs.demo.wheels import download

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "demo"
EVALDOCK = Path(sys.executable).with_name("evaldock")


def main() -> None:
    print("Harnesses from PyPI …", flush=True)
    wheels = download(ROOT / "requirements" / "demo.txt", ROOT / "build" / "wheels")
    BUILD.mkdir(parents=True, exist_ok=True)
    entries = [make_image(wheel) for wheel in wheels]
    write_if_new(BUILD / "mapping.toml", "\n".join(entries).encode())
    evaldock("sync", "--catalog", ".")
    evaldock("ls", "harnesses", "--catalog", ".")
    evaldock("build", "--catalog", ".", "--output", "site", "--quiet")
    serve = f"{shown(Path(sys.executable))} -m http.server --directory {shown(BUILD / 'site')}"
    print(
        f"\nThe site is ready. Open it in a browser:\n\n  {(BUILD / 'site' / 'index.html').as_uri()}\n\n"
        f"or serve it on port 8000:\n\n  {serve}\n\n"
        f"The catalog it was made from is {shown(BUILD)}. Ask it something:\n\n"
        f"  {shown(EVALDOCK)} ls tasks --catalog {shown(BUILD)} math"
    )


def make_image(wheel: Path) -> str:
    """Packs the wheel's framework files into a layout of one image; returns its table of mapping.toml."""
    distribution, version = wheel.name.split("-")[:2]
    name = distribution.removeprefix("nvidia_")
    harness = BUILD / "harnesses" / name
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = Path(member)
            if path.name == "framework.yml" and path.parts[0] == "core_evals":
                write_if_new(harness / "framework.yml", archive.read(member))
    layout = f"images/{name}:{version}"
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64")  # pure Python runs on both
    evaldock("pack", f"harnesses/{name}", "--to", f"oci:{layout}", *platforms)
    requirement = f"{distribution.replace('_', '-')}=={version}"
    return f'[{name}]\ncontainer = "oci:{layout}"\npackages = ["{requirement}"]\n'


def write_if_new(path: Path, content: bytes) -> None:
    """A file that stays as it is keeps its time, so that nothing is made again because of it."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def evaldock(*arguments: str) -> None:
    print("$ evaldock", *arguments, flush=True)
    done = subprocess.run([str(EVALDOCK), *arguments], cwd=BUILD, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def shown(path: Path) -> str:
    """As one types it from where `make` was called."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == "__main__":
    main()
