"""Stand-ins for the actions of others that ours and our workflows use."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

from action.composite import Foreign, Runner


def checkout(runner: Runner, inputs: Mapping[str, str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """actions/checkout of the runner's `github.repository_url`, a folder or an address, as deep as asked."""
    target = runner.workspace / inputs.get("path", "")
    if target.exists():
        shutil.rmtree(target)
    depth = inputs.get("fetch-depth", "1")
    ref = inputs.get("ref") or runner.github["ref_name"]
    url = runner.github["repository_url"]
    command = [
        "git",
        "clone",
        "--quiet",
        *([] if depth == "0" else [f"--depth={depth}"]),
        "--branch",
        ref,
        "--",
        url,
    ]
    subprocess.run([*command, str(target)], check=True, capture_output=True)
    return {}


def nothing(_runner: Runner, _inputs: Mapping[str, str], _environ: Mapping[str, str]) -> Mapping[str, str]:
    """actions/cache that finds nothing, actions/setup-python where Python is there."""
    return {}


def upload(runner: Runner, inputs: Mapping[str, str], _environ: Mapping[str, str]) -> Mapping[str, str]:
    """actions/upload-artifact, into the runner's folder."""
    source = runner.workspace / inputs["path"]
    target = runner.folder / "artifacts" / inputs.get("name", "github-pages")
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    elif inputs.get("if-no-files-found") == "error":
        raise FileNotFoundError(source)
    return {}


FOREIGN: dict[str, Foreign] = {
    "actions/checkout": checkout,
    "actions/cache": nothing,
    "actions/setup-python": nothing,
    "actions/upload-artifact": upload,
    "actions/upload-pages-artifact": upload,
}
