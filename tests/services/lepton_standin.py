"""A stand-in for Lepton's API that the real client talks to: `lepton_standin.py PORT FOLDER`.

It keeps what the client relies on: authentication, the paths and words of API v2, the states that jobs and
endpoints go through, logs that are followed while a replica runs, names that may occur twice. Jobs and
endpoints really run, as processes of this machine (`lepton_workspace`). Each test has a workspace of its
own, made through `/control`, where requests are counted and faults are ordered.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))
from services.lepton_containers import Container
from services.lepton_workspace import Endpoint, Job, Workspace, group_id

BASE = "/api/v2/workspaces/"
MAX_NAME = 36


class Answer(Exception):
    """Ends a request with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder
        self.workspaces: dict[str, Workspace] = {}

    def end(self) -> None:
        for workspace in self.workspaces.values():
            containers = [replica for job in workspace.jobs.values() for replica in job.replicas]
            containers += [e.container for e in workspace.endpoints.values() if e.container]
            for container in containers:
                container.kill()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        address = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        try:
            self.body = json.loads(raw) if raw else {}
        except ValueError:
            self.body = {}
        try:
            if address.path.startswith("/control/"):
                self.answer(200, self.control(address.path.removeprefix("/control/").split("/")))
            elif address.path.startswith("/serve/"):
                self.proxy(address.path.removeprefix("/serve/"), raw)
            else:
                self.api(address.path)
        except Answer as error:
            self.answer(error.status, {"code": "Error", "message": str(error)})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self.handle_any()

    def do_POST(self) -> None:
        self.handle_any()

    def do_PATCH(self) -> None:
        self.handle_any()

    def do_PUT(self) -> None:
        self.handle_any()

    def do_DELETE(self) -> None:
        self.handle_any()

    def answer(self, status: int, data: Any) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class's name
        return

    def api(self, path: str) -> None:
        name, _, rest = path.removeprefix(BASE).partition("/")
        workspace = self.workspace(name, path)
        parts = rest.split("/")
        workspace.counted[f"{self.command} /{parts[0]}"] += 1
        fault = self.fault(workspace, f"{self.command} /{rest}")
        if fault == "drop":
            self.close_connection = True
            return
        status, data = self.route(workspace, parts)
        if fault == "lose":
            self.close_connection = True
        elif callable(data):
            data()
        else:
            self.answer(status, data)

    def workspace(self, name: str, path: str) -> Workspace:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        known = {w.settings["token"]: w.name for w in self.server.workspaces.values()}
        if token not in known:
            raise Answer(401, "unauthorized")
        if not path.startswith(BASE) or name not in self.server.workspaces:
            raise Answer(404, f"no workspace {name}")
        if known[token] != name:
            raise Answer(403, "this token is another workspace's")
        return self.server.workspaces[name]

    def fault(self, workspace: Workspace, request: str) -> str | None:
        with workspace.lock:
            for fault in workspace.faults:
                if fault["times"] > 0 and request.startswith(fault["match"]):
                    fault["times"] -= 1
                    if isinstance(fault["does"], int):
                        raise Answer(fault["does"], f"ordered to answer {fault['does']}")
                    return str(fault["does"])
        return None

    def route(self, workspace: Workspace, parts: list[str]) -> tuple[int, Any]:
        routes: dict[str, Callable[[Workspace, list[str]], tuple[int, Any]]] = {
            "workspace": self.info,
            "jobs": self.jobs,
            "usersecrets": self.user_secrets,
            "shapes": self.shapes,
            "dedicated-node-groups": self.node_groups,
            "deployments": self.endpoints,
            "endpoints": self.endpoints,
        }
        if parts[0] not in routes:
            raise Answer(404, f"no such resource {parts[0]}")
        return routes[parts[0]](workspace, parts[1:])

    def info(self, workspace: Workspace, _: list[str]) -> tuple[int, Any]:
        resources = {"cpu": 0, "memory": 0, "accelerator_num": 0}
        numbers = ("deployments", "jobs", "pods", "secrets", "image_pull_secrets")
        return 200, {
            "build_time": "",
            "git_commit": "0.0.0",
            "workspace_name": workspace.name,
            "workspace_tier": "basic",
            "workspace_state": workspace.settings.get("state", "normal"),
            "supported_shapes": {},
            "workspace_disk_usage_bytes": 0,
            "workloads": {f"num_{name}": 0 for name in numbers},
            "resource_quota": {"limit": resources, "used": resources},
            "features": {"enable_new_deployment_api": workspace.settings.get("new_api", False)},
        }

    def user_secrets(self, workspace: Workspace, parts: list[str]) -> tuple[int, Any]:
        known = workspace.settings["secrets"]
        if self.command == "POST":
            if any(secret["name"] in known for secret in self.body):
                raise Answer(409, "the secret exists")
            known.update({secret["name"]: secret["value"] for secret in self.body})
        elif self.command == "DELETE" and known.pop(parts[0], None) is None:
            raise Answer(404, f"no secret {parts[0]}")
        return 200, [{"name": name, "value": None} for name in workspace.settings["secrets"]]

    def shapes(self, workspace: Workspace, _: list[str]) -> tuple[int, Any]:
        asked = f"{self.query.get('node_groups')} {self.query.get('purpose')}"
        names = workspace.settings.get("shapes_of", {}).get(asked, workspace.settings["shapes"])
        return 200, [{"metadata": {"id": s, "name": s}, "spec": {"name": s}} for s in names]

    def node_groups(self, workspace: Workspace, _: list[str]) -> tuple[int, Any]:
        names = workspace.settings["node_groups"]
        return 200, [{"metadata": {"id": group_id(n), "name": n}, "spec": {}, "status": {}} for n in names]

    def jobs(self, workspace: Workspace, parts: list[str]) -> tuple[int, Any]:
        if not parts:
            return self.create_job(workspace) if self.command == "POST" else self.list_jobs(workspace)
        job = workspace.jobs.get(parts[0])
        archived = self.query.get("job_query_mode") == "alive_and_archive" or len(parts) > 1
        if job is None or (job.state == "Deleted" and not archived):
            raise Answer(404, f"job {parts[0]} not found")
        if len(parts) == 1:
            return 200, self.one_job(workspace, job)
        if parts[1] == "events":
            at = "2026-01-01T00:00:00Z"
            events = [
                {"type": "Warning", "reason": r, "count": 1, "last_observed_time": at} for r in job.events
            ]
            return 200, events
        identity = job.body["metadata"]["id"]
        if len(parts) == 2:
            names = [f"{identity}-{index}" for index in range(len(job.replicas))]
            return 200, [{"metadata": {"id": name, "name": name}, "id": name} for name in names]
        number = int(parts[2].removeprefix(f"{identity}-"))
        return 200, lambda: self.follow(workspace, job.replicas[number])

    def one_job(self, workspace: Workspace, job: Job) -> Any:
        if self.command == "PATCH" and self.body.get("spec", {}).get("stopped"):
            job.body["spec"]["stopped"] = True
            workspace.stop(job)
        elif self.command == "DELETE":
            workspace.stop(job, "Deleting")
            return {}
        return job.data()

    def list_jobs(self, workspace: Workspace) -> tuple[int, Any]:
        found = [
            job.data()
            for job in list(workspace.jobs.values())
            if self.query.get("q", "") in job.body["metadata"]["name"]
            and (job.state != "Deleted" or self.query.get("job_query_mode") == "alive_and_archive")
        ]
        size = int(self.query.get("page_size", 100))
        start = (int(self.query.get("page", 1)) - 1) * size
        return 200, {"jobs": found[start : start + size], "total": len(found)}

    def create_job(self, workspace: Workspace) -> tuple[int, Any]:
        metadata, spec = self.body["metadata"], self.body["spec"]
        name = metadata.get("id") or metadata.get("name") or ""
        if not name or len(name) > MAX_NAME:
            raise Answer(422, f"invalid name {name!r}")
        if spec.get("resource_shape") not in workspace.settings["shapes"]:
            raise Answer(400, f"resource shape {spec.get('resource_shape')!r} is not there")
        if not spec["container"].get("image"):
            raise Answer(400, "container.image is required")
        with workspace.lock:
            taken = [job for job in workspace.jobs.values() if job.body["metadata"]["name"] == name]
            unique = workspace.settings["unique_names"]
            if taken and unique:
                raise Answer(409, f"job {name} already exists")
            identity = name if unique else f"{name}-{secrets.token_hex(2)}"
            # In milliseconds, and never twice the same.
            created = max(
                int(time.time() * 1000), 1 + max((j.body["metadata"]["created_at"] for j in taken), default=0)
            )
            metadata = {**metadata, "id": identity, "name": name, "created_at": created}
            job = workspace.jobs[identity] = Job({"metadata": metadata, "spec": spec})
            workspace.start(job)
        return 201, job.data()

    def follow(self, workspace: Workspace, replica: Container) -> None:
        """The log as it grows, until the replica has ended."""
        time.sleep(workspace.settings.get("slow_log", 0))
        framed = not workspace.settings.get("plain_log")
        self.send_response(200)
        self.send_header(*(("Transfer-Encoding", "chunked") if framed else ("Connection", "close")))
        self.end_headers()
        with replica.log.open("rb") as file:
            while True:
                last = replica.gone.is_set()
                if data := file.read():
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if framed else data)
                    self.wfile.flush()
                elif last:
                    self.wfile.write(b"0\r\n\r\n" if framed else b"")
                    return
                else:
                    replica.gone.wait(0.05)

    def endpoints(self, workspace: Workspace, parts: list[str]) -> tuple[int, Any]:
        new = workspace.settings.get("new_api", False)
        family = "endpoints" if new else "deployments"
        if urlsplit(self.path).path.removeprefix(BASE).split("/")[1] != family:
            raise Answer(400 if self.command == "POST" else 404, f"this workspace has {family}")
        if not parts and self.command == "POST":
            return self.create_endpoint(workspace, new)
        if not parts:
            return 200, [self.endpoint_data(workspace, e, new) for e in workspace.endpoints.values()]
        endpoint = workspace.endpoints.get(parts[0])
        if endpoint and endpoint.state == "Deleting" and self.command == "GET":
            endpoint.lingers -= 1
            if endpoint.lingers < 0:
                workspace.endpoints.pop(parts[0])
                endpoint = None
        if endpoint is None:
            raise Answer(404, f"endpoint {parts[0]} not found")
        if len(parts) == 2:
            return 200, [{"metadata": {"id": "r-0", "name": "r-0"}, "id": "r-0"}]
        if len(parts) == 4 and (container := endpoint.container):
            return 200, lambda: self.follow(workspace, container)
        if self.command == "DELETE":
            endpoint.state, endpoint.lingers = "Deleting", workspace.settings.get("lingers", 0)
            if not endpoint.lingers:
                workspace.endpoints.pop(parts[0])
            if endpoint.container:
                endpoint.container.kill()
            return 200, {}
        return 200, self.endpoint_data(workspace, endpoint, new)

    def create_endpoint(self, workspace: Workspace, new: bool) -> tuple[int, Any]:
        metadata, spec = self.body["metadata"], self.body["spec"]
        name = metadata.get("name") or metadata.get("id")
        component = spec["components"][0] if new else spec
        if name in workspace.endpoints:
            raise Answer(409, f"endpoint {name} already exists")
        shape = component["resource_shape"] if new else spec["resource_requirement"]["resource_shape"]
        if shape not in workspace.settings["shapes"]:
            raise Answer(400, f"resource shape {shape!r} is not there")
        container = component if new else spec["container"]
        port = container["ports"][0]["container_port"]
        endpoint = workspace.endpoints[name] = Endpoint({"metadata": metadata, "spec": spec}, port)
        endpoint.body["metadata"]["created_at"] = int(time.time() * 1000)
        parts = {**component, "container": {"command": container.get("command") or ["sleep", "600"]}}
        endpoint.container = workspace.container(name, parts, workspace.environ(component))
        threading.Thread(target=workspace.serve, args=(endpoint,), daemon=True).start()
        return 201, self.endpoint_data(workspace, endpoint, new)

    def endpoint_data(self, workspace: Workspace, endpoint: Endpoint, new: bool) -> dict[str, Any]:
        name = endpoint.body["metadata"].get("name") or endpoint.body["metadata"]["id"]
        url = f"http://127.0.0.1:{self.server.server_address[1]}/serve/{workspace.name}/{name}"
        if new:
            status: dict[str, Any] = {"state": endpoint.state, "external_url": url}
        else:
            addresses = {"internal_endpoint": "", "external_endpoint": url}
            status = {"state": endpoint.state, "phase": endpoint.state, "endpoint": addresses}
        # Tokens are given back with their values hidden.
        spec = json.loads(json.dumps(endpoint.body["spec"]))
        for token in spec.get("api_tokens") or []:
            token["value"] = "***"
        metadata = {**endpoint.body["metadata"], **({} if new else {"id": name})}
        return {"metadata": metadata, "spec": spec, "status": status}

    def proxy(self, path: str, raw: bytes) -> None:
        """A request to an endpoint's own URL, for who has one of its tokens."""
        workspace, _, rest = path.partition("/")
        name, _, rest = rest.partition("/")
        endpoint = self.server.workspaces[workspace].endpoints.get(name)
        if endpoint is None or endpoint.state != "Ready":
            raise Answer(503 if endpoint else 404, "no endpoint is ready here")
        tokens = [token["value"] for token in endpoint.body["spec"].get("api_tokens") or []]
        if tokens and (self.headers.get("Authorization") or "").removeprefix("Bearer ") not in tokens:
            raise Answer(401, "unauthorized")
        connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.command, f"/{rest}", raw, {"Content-Type": "application/json"})
            response = connection.getresponse()
            self.answer(response.status, json.loads(response.read() or b"{}"))

    def control(self, parts: list[str]) -> Any:
        name = parts[0]
        if self.command == "PUT":
            made = self.server.workspaces[name] = Workspace.made(name, self.server.folder / name, self.body)
            return {"folder": str(made.folder)}
        workspace = self.server.workspaces.get(name)
        if workspace is None:
            raise Answer(404, f"no workspace {name}")
        if self.command == "GET":
            return workspace.look()
        workspace.change(self.body)
        return {}


def main() -> None:
    server = Server(int(sys.argv[1]), Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever(0.1)
    finally:
        server.end()


if __name__ == "__main__":
    main()
