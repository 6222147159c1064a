"""As much of a Weights & Biases server as its client asks when artifacts are read: GraphQL and files.

Answers are by the name of the query; what a query's fragments ask for and nobody needs is null or empty.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT = "team", "proj"
TIME = "2026-01-02T03:04:05Z"
_PROJECT = {"id": "p", "internalId": "1", "name": PROJECT, "entity": {"name": ENTITY}}
_END = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


@dataclass
class Project:
    """`versions` by the artifact's name: the files of v0, v1 …, all of type `weights`. `aliases` lead from
    `name:alias` to a version. `sent` counts files; with `damaged`, they are sent wrong;
    without `welcome`, nobody's key is known."""

    versions: dict[str, list[Mapping[str, bytes]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    damaged: bool = False
    welcome: bool = True
    url: str = ""

    def answer(self, query: str, given: Mapping[str, Any]) -> Any:
        match = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = match[1] if match else ""
        return getattr(self, f"_{name}")(given)

    def file(self, path: str) -> bytes | None:
        kind, _, rest = path.strip("/").partition("/")
        if kind == "manifest":
            name, number = rest.split("/")
            return self._manifest(self.versions[name][int(number)])
        digest = re.search(r"/([0-9a-f]{32})(?:/|$)", path)
        contents = (data for each in self.versions.values() for files in each for data in files.values())
        self.sent += 1
        found = next((data for data in contents if digest and _md5(data).hex() == digest[1]), None)
        return b"X" + found[1:] if found and self.damaged else found

    def _manifest(self, files: Mapping[str, bytes]) -> bytes:
        contents = {
            path: {"digest": base64.b64encode(_md5(data)).decode(), "size": len(data)}
            for path, data in files.items()
        }
        data = {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": contents,
        }
        return json.dumps(data).encode()

    def _Viewer(self, _: Mapping[str, Any]) -> Any:  # the query's name
        person = {"id": "u", "entity": ENTITY, "username": "u", "email": "", "flags": "{}"}
        return {"viewer": {**person, "teams": {"edges": []}} if self.welcome else None}

    _GetDefaultEntity = _Viewer

    def _ServerFeaturesQuery(self, _: Mapping[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def _ArtifactMembershipByName(self, given: Mapping[str, Any]) -> Any:
        name, _, version = given["name"].partition(":")
        count = len(self.versions.get(name, ()))
        wanted = self.aliases.get(f"{name}:{version}", f"v{count - 1}" if version == "latest" else version)
        known = {f"v{number}": number for number in range(count)}
        found = self._membership(name, known[wanted]) if wanted in known else None
        return {"project": {"artifactCollectionMembership": found}}

    def _FetchArtifactManifest(self, given: Mapping[str, Any]) -> Any:
        name, number = given["id"].split(":")
        return {
            "artifact": {"currentManifest": {"file": {"directUrl": f"{self.url}/manifest/{name}/{number}"}}}
        }

    def _ProjectArtifactTypes(self, _: Mapping[str, Any]) -> Any:
        kind = {
            "__typename": "ArtifactType",
            "id": "t",
            "name": "weights",
            "description": "",
            "createdAt": TIME,
        }
        return {"project": {"artifactTypes": {"edges": [{"node": kind}], "pageInfo": _END}}}

    def _ArtifactTypeArtifactCollections(self, _: Mapping[str, Any]) -> Any:
        found = [
            {
                "__typename": "ArtifactSequence",
                "id": name,
                "name": name,
                "description": "",
                "createdAt": TIME,
                "updatedAt": TIME,
                "project": _PROJECT,
                "type": {"name": "weights"},
                "tags": {"edges": []},
            }
            for name in self.versions
        ]
        edges = [{"node": each} for each in found]
        listed = {"totalCount": len(found), "pageInfo": _END, "edges": edges}
        return {"project": {"artifactType": {"artifactCollections": listed}}}

    def _ProjectArtifacts(self, given: Mapping[str, Any]) -> Any:
        name = given["collection"]
        edges = []
        for number in range(len(self.versions[name])):
            member = self._membership(name, number)
            aliases = [
                {**each, "artifactCollection": member["artifactCollection"]} for each in member["aliases"]
            ]
            edges.append({"version": f"v{number}", "node": {**member["artifact"], "aliases": aliases}})
        listed = {"totalCount": len(edges), "pageInfo": _END, "edges": edges}
        found = {"__typename": "ArtifactSequence", "artifacts": listed}
        return {"project": {"artifactType": {"artifactCollection": found}}}

    def _membership(self, name: str, number: int) -> Any:
        collection = {"__typename": "ArtifactSequence", "name": name, "project": _PROJECT}
        aliases = [alias.partition(":")[2] for alias, of in self.aliases.items() if of == f"v{number}"]
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": "m",
            "versionIndex": number,
            "createdAt": TIME,
            "aliases": [{"__typename": "ArtifactAlias", "id": alias, "alias": alias} for alias in aliases],
            "artifactCollection": collection,
            "artifact": {
                "__typename": "Artifact",
                "id": f"{name}:{number}",
                "artifactSequence": collection,
                "versionIndex": number,
                "artifactType": {"name": "weights"},
                "description": "as trained",
                "metadata": "{}",
                "ttlDurationSeconds": -1,
                "ttlIsInherited": False,
                "tags": [],
                "historyStep": None,
                "state": "COMMITTED",
                "size": 1,
                "digest": "d",
                "commitHash": "c",
                "fileCount": len(self.versions[name][number]),
                "createdAt": TIME,
                "updatedAt": TIME,
                "aliases": [],
            },
        }


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


@contextmanager
def serving(project: Project) -> Iterator[Project]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/graphql":
                self._say(b"{}")
                return
            asked = json.loads(body)
            data = project.answer(asked["query"], asked.get("variables") or {})
            self._say(json.dumps({"data": data}).encode())

        def do_GET(self) -> None:
            found = project.file(self.path)
            if found is None:
                self.send_error(404)
            else:
                self._say(found)

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    project.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield project
    finally:
        server.shutdown()
        server.server_close()
