"""What a backend needs beside evaldock, installed once it is known which backend that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from catalog.github.workflow_step import Failed, Workflow


def ensure(workflow: Workflow, backend: str) -> None:
    """Nothing is done where it is there already, or where this isn't run by an action."""
    folder = workflow.environ.get("GITHUB_ACTION_PATH", "")
    places = (Path(folder) / "install.py", Path(folder).parent / "install.py")
    installer = next((place for place in places if folder and place.is_file()), None)
    if installer is None:
        return
    with workflow.group(f"Install what {backend} needs"):
        done = subprocess.run(
            [sys.executable, "-I", str(installer), "add", backend],
            env={**workflow.environ, "GITHUB_OUTPUT": ""},
            stdin=subprocess.DEVNULL,
            check=False,
        )
    if done.returncode:
        raise Failed(f"what the backend {backend} needs could not be installed", done.returncode)
