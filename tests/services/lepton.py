"""The Lepton stand-in as a service: started once in a test run, a workspace for each test."""

from __future__ import annotations

import json
import secrets
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.processes import free_port, start, tail, wait_until
from services.shared import Shared


@dataclass(frozen=True, slots=True)
class Lepton:
    """A workspace of the stand-in. `folder` holds its volumes: `volumes/<from>/<path>`."""

    host: str
    name: str
    folder: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}/api/v2/workspaces/{self.name}"

    @property
    def token(self) -> str:
        return f"token-{self.name}"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "LEPTON_WORKSPACE_ID": self.name,
            "LEPTON_WORKSPACE_TOKEN": self.token,
            "LEPTON_WORKSPACE_URL": self.url,
        }

    def change(self, **data: Any) -> None:
        """`faults`, `settings`, `lose`, `force`: see the stand-in."""
        _call("POST", self.host, self.name, data)

    def fault(self, match: str, does: int | str, times: int = 1) -> None:
        """The next requests that begin so answer with a status, are dropped (`drop`), or done and not
        answered (`lose`)."""
        self.change(faults=[{"match": match, "does": does, "times": times}])

    def look(self) -> dict[str, Any]:
        """What it has counted, and its jobs and endpoints."""
        found: dict[str, Any] = _call("GET", self.host, self.name, None)
        return found


def new_workspace(host: str, **settings: Any) -> Lepton:
    name = f"ws{secrets.token_hex(4)}"
    return Lepton(host, name, Path(_call("PUT", host, name, settings)["folder"]))


def start_lepton(shared: Shared, folder: Path) -> dict[str, Any]:
    """`{"host": "127.0.0.1:PORT"}`."""
    port = free_port()
    script = Path(__file__).with_name("lepton_standin.py")
    supervisor = start(
        [sys.executable, str(script), str(port), str(folder)], folder=folder, owner=shared.owner
    )
    host = f"127.0.0.1:{port}"

    def ready() -> bool:
        return bool(_call("PUT", host, "first", {}))

    trouble = wait_until(ready, supervisor=supervisor, seconds=30)
    if trouble:
        raise RuntimeError(f"the Lepton stand-in didn't come up: {trouble}\n{tail(folder / 'log')}")
    return {"host": host}


def _call(method: str, host: str, name: str, data: Any) -> Any:
    body = json.dumps(data).encode() if data is not None else None
    request = urllib.request.Request(f"http://{host}/control/{name}", body, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
