"""Processes that publish the same artifact at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from launcher.artifacts.names import ArtifactRef
from launcher.artifacts.versions import Artifacts

REPOSITORY = Path(__file__).parents[2]
# Publishes as `llama` a file for each of its arguments, with that as its name and content and in an alias.
PUBLISH = """
import sys
from pathlib import Path
from launcher.artifacts.opening import open_to_publish
registry = open_to_publish()
for text in sys.argv[2:]:
    file = Path(sys.argv[1]) / text
    file.write_text(text)
    print(registry.put("llama", file, aliases=[f"of-{text}"]))
"""


def publish_at_once(folder: Path, *, processes: int, each: int) -> dict[str, str]:
    """Which version holds which text."""
    texts = [[f"p{process}-{number}" for number in range(each)] for process in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(folder), *own],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in texts
    ]
    made: dict[str, str] = {}
    for own, process in zip(texts, started, strict=True):
        made |= dict(zip(process.communicate(timeout=120)[0].split(), own, strict=True))
    return made


def lost(registry: Artifacts, made: dict[str, str]) -> list[str]:
    """Texts that aren't in the version that was made of them, or that their alias doesn't lead to."""
    missing = []
    for name, text in made.items():
        version = registry.find(ArtifactRef("llama", f"of-{text}"))
        with registry.open(version, text) as file:
            if file.read().decode() != text or str(version) != name:
                missing.append(text)
    return missing
