"""The files of an image in a registry on loopback, unpacked: for stand-ins of runtimes that Debian lacks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WHITEOUT = ".wh."


def unpack(name: str, root: Path) -> list[str]:
    """`HOST/NAME@sha256:…` below `root`; its variables as `NAME=value`. Ends the process with skopeo's words
    where there is no such image."""
    root.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        layout = Path(scratch) / "layout"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
        copied = subprocess.run([*command, f"docker://{name}", f"oci:{layout}:1"], check=False)
        if copied.returncode:
            sys.exit(copied.returncode)
        manifest = _blob(layout, json.loads((layout / "index.json").read_bytes())["manifests"][0])
        for layer in json.loads(manifest.read_bytes())["layers"]:
            _apply(_blob(layout, layer), root)
        config = json.loads(_blob(layout, json.loads(manifest.read_bytes())["config"]).read_bytes())
    variables: list[str] = config.get("config", {}).get("Env") or []
    return variables


def _blob(layout: Path, descriptor: dict[str, str]) -> Path:
    return layout / "blobs" / "sha256" / descriptor["digest"].partition(":")[2]


def _apply(layer: Path, root: Path) -> None:
    listed = subprocess.run(["tar", "-tf", str(layer)], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        path = Path(line)
        if path.name.startswith(WHITEOUT):
            gone = root / path.parent / path.name.removeprefix(WHITEOUT)
            shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink(missing_ok=True)
    command = ["tar", "-xpf", str(layer), "-C", str(root), f"--exclude={WHITEOUT}*"]
    subprocess.run(command, check=True)
