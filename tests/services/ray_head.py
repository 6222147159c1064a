"""A real Ray head of the test run's own: own ports, own folder, and nothing of who runs the tests.

Ray comes from this environment. Two heads at once don't meet: every port is chosen, none is Ray's default.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from services.processes import free_ports, start, tail, wait_until
from services.required import Unavailable
from services.shared import Shared

_PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "runtime-env-agent-port",
    "ray-client-server-port",
    "node-manager-port",
    "object-manager-port",
)
# What a socket's path may have (unix(7)), and what Ray puts behind its folder.
_LONGEST, _BEHIND = 107, 65
# Jobs wait for nobody here: none of them runs for long.
CPUS = 16
LABELS = "zone=here,accelerator=none"
_KEPT = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class RayHead:
    """`url` is the dashboard's; `supervisor` the process that ends when the head does."""

    url: str
    folder: Path
    supervisor: int
    token: str | None
    ports: Mapping[str, int]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> RayHead:
        folder, supervisor = Path(found["folder"]), int(found["supervisor"])
        return cls(found["url"], folder, supervisor, found["token"], found["ports"])

    def get(self, path: str) -> Any:
        with self._open("GET", path) as answer:
            return json.load(answer)

    def request(self, method: str, path: str) -> None:
        self._open(method, path).close()

    def _open(self, method: str, path: str) -> Any:
        return urllib.request.urlopen(_request(self.url + path, self.token, method), timeout=20)

    def kill(self) -> None:
        """At once, with all of its processes but the jobs': a node that loses its power."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if entry.name.isdigit() and _parent(int(entry.name)) == self.supervisor:
                    os.killpg(int(entry.name), signal.SIGKILL)
        while Path(f"/proc/{self.supervisor}").exists() and _state(self.supervisor) != "Z":
            time.sleep(0.05)


def start_ray_head(
    shared: Shared,
    folder: Path,
    *,
    token: str | None = None,
    ports: Mapping[str, int] | None = None,
    gpus: int = 0,
) -> dict[str, Any]:
    """`{"url": "http://127.0.0.1:…", "supervisor": …}`. With a `token`, only who has it is let in; `ports`
    are those of a head that stood there before; it says of itself to have `gpus`."""
    if find_spec("ray") is None:
        raise Unavailable("ray is not installed in this environment")
    if len(str(folder)) + _BEHIND > _LONGEST:
        raise Unavailable(f"Ray's sockets don't fit below {folder}: set TMPDIR to a shorter folder")
    home = folder / "home"
    home.mkdir(exist_ok=True)
    ports = dict(ports or zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    command = [
        *("env", "-i", *_environment(home, token)),
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *(f"--{name}={port}" for name, port in ports.items()),
        *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--min-worker-port=0"),
        *(
            "--max-worker-port=0",
            f"--num-cpus={CPUS}",
            f"--num-gpus={gpus}",
            "--object-store-memory=80000000",
        ),
        *("--include-log-monitor=false", f"--temp-dir={folder}", f"--labels={LABELS}"),
    ]
    supervisor = start(command, folder=folder, owner=shared.owner)
    url = f"http://127.0.0.1:{ports['dashboard-port']}"
    failed = wait_until(lambda: _answers(url, token), supervisor=supervisor, seconds=90)
    if failed:
        supervisor.terminate()
        raise Unavailable(f"the Ray head didn't come up: {failed}\n{tail(folder / 'log')}")
    return {"url": url, "supervisor": supervisor.pid, "folder": str(folder), "token": token, "ports": ports}


def _environment(home: Path, token: str | None) -> list[str]:
    """RAY_AUTH_MODE is set either way: Ray would look for a token by itself."""
    values = {
        # `python` on a node is that of Ray.
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NODE_VARIABLE": "set on the node",
        "RAY_AUTH_MODE": "token" if token else "disabled",
        **({"RAY_AUTH_TOKEN": token} if token else {}),
        # Where packages come from on this machine.
        **{name: value for name, value in os.environ.items() if name.startswith(_KEPT)},
    }
    return [f"{name}={value}" for name, value in values.items()]


def _answers(url: str, token: str | None) -> bool:
    """Jobs are taken only once an agent is there."""
    with urllib.request.urlopen(_request(f"{url}/api/v0/nodes", token), timeout=10) as answer:
        nodes = json.load(answer)["data"]["result"]["result"]
    return any(node["state"] == "ALIVE" for node in nodes)


def _request(url: str, token: str | None, method: str = "GET") -> urllib.request.Request:
    return urllib.request.Request(
        url, headers={"Authorization": f"Bearer {token}"} if token else {}, method=method
    )


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _state(pid: int) -> str:
    try:
        return _stat(pid)[0]
    except OSError:
        return "Z"
