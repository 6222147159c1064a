"""`make demo`: a catalog of real harnesses and its site, made as a user would make them.

Without root, container engine or registry: the harnesses' wheels come from PyPI, their framework files are
packed into `oci:` layouts, and from there on everything is `evaldock sync`, `run`, `publish` and `build`.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from docs.demo.evaluations import Failed, evaluate
from docs.demo.wheels import download

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "demo"
WRAPPERS = ROOT / "catalog" / "harnesses"
PLATFORMS = ("--platform", "linux/amd64", "--platform", "linux/arm64")  # pure Python runs on both
EVALDOCK = Path(sys.executable).with_name("evaldock")


def main() -> None:
    print("Harnesses from PyPI …", flush=True)
    wheels = download(ROOT / "requirements" / "demo.txt", ROOT / "build" / "wheels")
    BUILD.mkdir(parents=True, exist_ok=True)
    entries = [own_image(), *(make_image(wheel) for wheel in wheels)]
    write_if_new(BUILD / "mapping.toml", "\n".join(entries).encode())
    evaldock("sync", "--catalog", ".")
    evaldock("ls", "harnesses", "--catalog", ".")
    try:
        evaluate(EVALDOCK, BUILD)
    except Failed as problem:
        sys.exit(str(problem))
    evaldock("compare", "stand-in-steady", "stand-in-shaky", "--catalog", ".")
    evaldock("build", "--catalog", ".", "--output", "site", "--quiet")
    serve = f"{shown(Path(sys.executable))} -m http.server --directory {shown(BUILD / 'site')}"
    print(
        f"\nThe site is ready. Open it in a browser:\n\n  {(BUILD / 'site' / 'index.html').as_uri()}\n\n"
        f"or serve it on port 8000:\n\n  {serve}\n\n"
        f"The catalog it was made from is {shown(BUILD)}. Ask it something:\n\n"
        f"  {shown(EVALDOCK)} ls tasks --catalog {shown(BUILD)} math"
    )


def own_image() -> str:
    """Packs quickcheck, this project's own harness; returns its table of mapping.toml."""
    harness = "../../catalog/harnesses/quickcheck"
    evaldock("pack", harness, "--to", "oci:images/quickcheck:1.0.0", *PLATFORMS)
    return (
        f'[quickcheck]\ncontainer = "oci:images/quickcheck:1.0.0"\npackages = ["{harness}"]\n'
        'abilities = ["resume", "shards"]\n'
    )


def make_image(wheel: Path) -> str:
    """Packs the wheel's framework files into a layout of one image; returns its table of mapping.toml."""
    distribution, version = wheel.name.split("-")[:2]
    name = distribution.removeprefix("nvidia_")
    harness = BUILD / "harnesses" / name
    wrapper = WRAPPERS / name
    if wrapper.is_dir():
        prepare = [sys.executable, str(WRAPPERS / "prepare.py"), str(wrapper), str(harness)]
        subprocess.run([*prepare, "--wheel", str(wheel)], check=True)
        packages = f"./harnesses/{name}/requirements.txt"
    else:
        take_definition(wheel, harness)
        packages = f"{distribution.replace('_', '-')}=={version}"
    layout = f"images/{name}:{version}"
    evaldock("pack", f"harnesses/{name}", "--to", f"oci:{layout}", *PLATFORMS)
    return f'[{name}]\ncontainer = "oci:{layout}"\npackages = ["{packages}"]\n'


def take_definition(wheel: Path, harness: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = Path(member)
            if path.name == "framework.yml" and path.parts[0] == "core_evals":
                write_if_new(harness / "framework.yml", archive.read(member))


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
