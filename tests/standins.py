"""Stand-in model servers for tests, as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def standin(folder: Path, *arguments: str) -> Iterator[str]:
    """Its base URL, up to /v1."""
    file = folder / "standin.url"
    file.unlink(missing_ok=True)
    command = ["-m", "catalog.cli", "standin", "--port", "0", "--url-file", str(file), *arguments]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while not file.exists():
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield file.read_text()
        finally:
            server.terminate()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
        found: dict[str, Any] = json.load(answer)
    return found
