"""Credentials as `docker login` leaves them in the test's own home."""

from __future__ import annotations

import base64
import json
from pathlib import Path

SECRET = "hunter2-and-more"


def login(*hosts: str, user: str = "user", **entry: str) -> None:
    """With SECRET, unless the hosts' `entry` says something else."""
    path = Path.home() / ".docker" / "config.json"
    path.parent.mkdir(exist_ok=True)
    pair = {"auth": base64.b64encode(f"{user}:{SECRET}".encode()).decode()}
    path.write_text(json.dumps({"auths": dict.fromkeys(hosts, entry or pair)}))
