"""A real registry (Debian's docker-registry, CNCF Distribution 2.8) on loopback, over plain http."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from services.install import need
from services.processes import free_port, start, tail, wait_until
from services.required import Unavailable
from services.shared import Shared


def start_registry(shared: Shared, folder: Path) -> dict[str, Any]:
    """`{"host": "127.0.0.1:PORT"}`. Anonymous pushes, pulls and deletions."""
    registry = need(shared, "docker-registry", packages=["docker-registry"])
    host = f"127.0.0.1:{free_port()}"
    config = folder / "config.yml"
    # JSON is YAML too.
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "warn", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(folder / "data")},
                    "delete": {"enabled": True},
                },
                "http": {"addr": host},
            }
        )
    )
    supervisor = start([str(registry), "serve", str(config)], folder=folder, owner=shared.owner)
    trouble = wait_until(lambda: _answers(host), supervisor=supervisor, seconds=30)
    if trouble:
        raise Unavailable(f"docker-registry didn't come up: {trouble}\n{tail(folder / 'log')}")
    return {"host": host}


def _answers(host: str) -> bool:
    with urllib.request.urlopen(f"http://{host}/v2/", timeout=2) as answer:
        return bool(answer.status == 200)
