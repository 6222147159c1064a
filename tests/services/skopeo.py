"""skopeo: copies and converts images between registries, layouts and archives."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.install import need
from services.shared import Shared


@dataclass(frozen=True, slots=True)
class Skopeo:
    """`skopeo("copy", "oci:dir:tag", "docker://127.0.0.1:5000/a:1", "--dest-tls-verify=false")` gives what it
    printed; a failure raises with what it complained about."""

    program: Path

    def __call__(self, command: str, *arguments: str) -> str:
        # Trust policies of the machine have no say in a test.
        called = [str(self.program), "--insecure-policy", command, *arguments]
        done = subprocess.run(called, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(called)}\n{done.stderr}")
        return done.stdout


def find_skopeo(shared: Shared, folder: Path) -> dict[str, Any]:
    return {"program": str(need(shared, "skopeo", packages=["skopeo"]))}
