"""A workspace of the Lepton stand-in: its jobs and endpoints, and how they go through their states."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.lepton_containers import Container

ENDED = ("Completed", "Failed", "Stopped", "Deleted")


def group_id(name: str) -> str:
    """Of a node group."""
    return f"{name}-1a2b"


@dataclass(slots=True)
class Job:
    """`forced` is a state that nothing of it explains."""

    body: dict[str, Any]
    state: str = "Queueing"
    replicas: list[Container] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    forced: str | None = None

    def data(self) -> dict[str, Any]:
        return {
            **self.body,
            "status": {"job_name": self.body["metadata"]["name"], "state": self.forced or self.state},
        }


@dataclass(slots=True)
class Endpoint:
    body: dict[str, Any]
    port: int
    state: str = "Starting"
    container: Container | None = None
    # Answers in which it still is there after it was deleted.
    lingers: int = 0


@dataclass(slots=True)
class Workspace:
    """`settings`: token, secrets, shapes, node_groups, unique_names, new_api, hold (jobs stay queued), path
    (folders of programs that images hold), stopped_forgets (a stopped job has no replicas any more), slow_log
    (seconds before a log begins), plain_log (its end is that of the connection), lingers (answers that still
    show an endpoint that was deleted), shapes_of (other shapes by `GROUP PURPOSE`)."""

    name: str
    folder: Path
    settings: dict[str, Any]
    jobs: dict[str, Job] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def made(cls, name: str, folder: Path, settings: Mapping[str, Any]) -> Workspace:
        defaults = {
            "token": f"token-{name}",
            "secrets": {},
            "shapes": ["cpu.small"],
            "node_groups": ["group"],
            "unique_names": False,
        }
        return cls(name, folder, {**defaults, **settings})

    def look(self) -> dict[str, Any]:
        """What it has counted, and its jobs with their processes, endpoints and names of secrets."""
        jobs = {
            identity: {**job.data(), "pids": [pid for replica in job.replicas for pid in replica.processes()]}
            for identity, job in self.jobs.items()
        }
        endpoints = {name: endpoint.body for name, endpoint in self.endpoints.items()}
        names = sorted(self.settings["secrets"])
        return {"counted": self.counted, "jobs": jobs, "endpoints": endpoints, "secrets": names}

    def change(self, wanted: Mapping[str, Any]) -> None:
        """`faults` are added, `settings` laid over; jobs in `lose` disappear with their processes, what is in
        `force` answers with a state."""
        self.faults += wanted.get("faults", [])
        self.settings |= wanted.get("settings", {})
        for identity in wanted.get("lose", []):
            for replica in self.jobs.pop(identity).replicas:
                replica.kill()
        for identity, state in wanted.get("force", {}).items():
            if identity in self.jobs:
                self.jobs[identity].forced = state
            else:
                self.endpoints[identity].state = state

    def start(self, job: Job) -> None:
        """Through its states, as far as the workspace lets it come."""
        spec, identity = job.body["spec"], job.body["metadata"]["id"]
        wanted = (spec.get("affinity") or {}).get("allowed_dedicated_node_groups") or []
        if self.settings.get("hold") or not set(wanted) <= set(map(group_id, self.settings["node_groups"])):
            job.events.append("NoCapacity")
            return
        job.state = "Starting"
        try:
            environ = self.environ(spec)
        except KeyError:
            job.events.append("CreateContainerConfigError")
            return
        total = spec.get("completions", 1)
        for index in range(total):
            own = {"LEPTON_JOB_NAME": identity, "LEPTON_JOB_WORKER_INDEX": str(index)}
            own |= {"LEPTON_JOB_TOTAL_WORKERS": str(total), "LEPTON_JOB_WORKER_PREFIX": "worker"}
            own["LEPTON_SUBDOMAIN"] = "jobs"
            job.replicas.append(self.container(f"{identity}-{index}", spec, {**environ, **own}))
        job.state = "Running"
        threading.Thread(target=self.watch, args=(job,), daemon=True).start()

    def watch(self, job: Job) -> None:
        for replica in job.replicas:
            replica.gone.wait()
            if replica.code and job.state == "Running":
                for other in job.replicas:
                    other.stop()
        with self.lock:
            if job.state in ("Stopping", "Deleting"):
                job.state = "Stopped" if job.state == "Stopping" else "Deleted"
                if self.settings.get("stopped_forgets"):
                    job.replicas.clear()
            else:
                job.state = "Failed" if any(replica.code for replica in job.replicas) else "Completed"

    def environ(self, spec: dict[str, Any]) -> dict[str, str]:
        made = {}
        for variable in spec.get("envs") or []:
            source = (variable.get("value_from") or {}).get("secret_name_ref")
            made[variable["name"]] = self.settings["secrets"][source] if source else variable["value"]
        return made

    def container(self, name: str, spec: dict[str, Any], environ: dict[str, str]) -> Container:
        mounts = {m["mount_path"]: self.volume(m["from"], m["path"]) for m in spec.get("mounts") or []}
        folder = self.folder / "containers" / f"{name}-{secrets.token_hex(3)}"
        path = [
            *self.settings.get("path", ()),
            str(Path(sys.executable).parent),
            "/usr/local/bin:/usr/bin:/bin",
        ]
        whole = {"PATH": ":".join(path), **environ}
        return Container(name, spec["container"]["command"], whole, folder, mounts)

    def volume(self, source: str, path: str) -> Path:
        return self.folder / "volumes" / source / path.strip("/")

    def stop(self, job: Job, state: str = "Stopping") -> None:
        with self.lock:
            if job.state in ENDED:
                return
            if not job.replicas:
                job.state = "Stopped" if state == "Stopping" else "Deleted"
                return
            job.state = state
        for replica in job.replicas:
            replica.stop()

    def serve(self, endpoint: Endpoint) -> None:
        """Ready when its port answers, as Lepton's own check has it."""
        assert endpoint.container is not None
        while endpoint.state in ("Starting", "Error"):
            if endpoint.container.gone.is_set():
                endpoint.state = "Error"
                return
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", endpoint.port), 1):
                endpoint.state = "Ready"
            time.sleep(0.05)
