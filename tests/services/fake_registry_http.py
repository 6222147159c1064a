"""The HTTP side of the fake registry: routes of the OCI distribution-spec, authentication, faults."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from services.fake_registry_parts import Basic, Bearer, Fault, Logged, digest_of

if TYPE_CHECKING:
    from services.fake_registry import FakeRegistry

_ROUTE = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>blobs|manifests|referrers|tags)/(?P<rest>.+)")


class Server:
    """One host identity. `signed` is the one that blob redirects lead to."""

    def __init__(
        self, registry: FakeRegistry, *, name: str, signed: bool, tls: ssl.SSLContext | None
    ) -> None:
        handler = type("Handler", (_Handler,), {"registry": registry, "signed": signed})
        self._name = name
        self._server = _Listener(("127.0.0.1", 0), handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        return f"{self._name}:{self._server.server_port}"

    @property
    def connections(self) -> int:
        return self._server.accepted

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.accepted = 0
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):  # kept alive by clients
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    signed: bool
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the name in the base class
        """The registry keeps a log of its own."""

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.route, self.query = url.path, url.query
        self.fault: Fault | None = None
        # Logged before the first byte leaves: a client that has its answer finds it in the log.
        self.logged = Logged(
            host=self.headers.get("Host", ""),
            method=self.command,
            path=self.route,
            query=self.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.body,
        )
        with self.registry.lock:
            self.registry.log.append(self.logged)
            self.registry.at_once += 1
            self.registry.most_at_once = max(self.registry.most_at_once, self.registry.at_once)
        try:
            time.sleep(self.registry.latency)
            self._answer_or_fail()
        finally:
            with self.registry.lock:
                self.registry.at_once -= 1

    # The names that http.server calls.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer_or_fail(self) -> None:
        self.fault = self.registry.take_fault(self.command, self.route)
        if self.fault and self.fault.drop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.fault and self.fault.status:
            self._reply(self.fault.status, self.fault.body or b"{}", self.fault.headers)
            return
        if self.signed:
            self._signed()
        elif self.route == "/jwt/auth":
            self._token()
        elif self._allowed():
            self._registry()

    # Authentication

    def _allowed(self) -> bool:
        auth = self.registry.auth
        given = self.headers.get("Authorization", "")
        if auth is None:
            return True
        if isinstance(auth, Basic):
            if given == basic(auth.user, auth.password):
                return True
            challenge = 'Basic realm="fake \\"quoted\\", registry"'
        else:
            if self._token_covers(given.removeprefix("Bearer ")):
                return True
            challenge = self._challenge(auth)
        self._error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return False

    def _token_covers(self, token: str) -> bool:
        scope, end = self.registry.tokens.get(token, ("", 0.0))
        if time.monotonic() > end:
            return False
        if self.route == "/v2/":
            return True
        repository, actions = self._needed()
        kind, _, rest = scope.partition(":")
        name, _, granted = rest.rpartition(":")
        return kind == "repository" and name == repository and actions <= set(granted.split(","))

    def _needed(self) -> tuple[str, set[str]]:
        route = _ROUTE.fullmatch(self.route)
        repository = route["repository"] if route else ""
        return repository, {"pull"} if self.command in ("GET", "HEAD") else {"pull", "push"}

    def _challenge(self, auth: Bearer) -> str:
        realm = auth.realm.format(host=self.headers.get("Host"), other=self.registry.other)
        scope = f"repository:{self._needed()[0]}:{auth.actions}"
        return f'Bearer realm="{realm}",service="{auth.service}",scope="{scope}"'

    def _token(self) -> None:
        auth: Any = self.registry.auth
        asked = parse_qs(self.query if self.command == "GET" else self.body.decode())
        scope = asked.get("scope", [""])[0]
        known = self.headers.get("Authorization") == basic(auth.user, auth.password) and bool(auth.user)
        if self.command == "POST":
            known = bool(auth.identity_token) and asked.get("refresh_token") == [auth.identity_token]
        elif "Authorization" in self.headers and not known:
            self._error(401, "UNAUTHORIZED")
            return
        if not known and not auth.anonymous:
            self._error(401, "UNAUTHORIZED")
            return
        if not known:
            head, _, actions = scope.rpartition(":")
            scope = f"{head}:{'pull' if 'pull' in actions else ''}"
        token = self.registry.new_token(scope, auth.lifetime)
        self._json(200, {auth.answer: token, "expires_in": auth.lifetime})

    def _signed(self) -> None:
        if "Authorization" in self.headers:
            self.registry.leaks.append(f"{self.command} {self.path}")
            self._error(400, "UNSUPPORTED")
            return
        if parse_qs(self.query).get("signature", [""])[0] not in self.registry.signatures:
            self._reply(403, b"<Error><Code>AccessDenied</Code></Error>", {})
            return
        self._blob(self.route.rpartition("/")[2])

    # The routes of the distribution specification

    def _registry(self) -> None:
        if self.route == "/v2/":
            self._json(200, {})
            return
        found = _ROUTE.fullmatch(self.route)
        if not found:
            self._error(404, "NAME_UNKNOWN")
            return
        repository, kind, rest = found["repository"], found["kind"], found["rest"]
        if kind == "manifests":
            self._manifest(repository, rest)
        elif kind == "referrers":
            self._referrers(repository, rest)
        elif kind == "tags":
            tags = [tag for where, tag in self.registry.tags if where == repository]
            self._json(200, {"name": repository, "tags": tags})
        elif rest.startswith("uploads/"):
            self._upload(repository, rest.removeprefix("uploads/"))
        elif self.registry.redirect_blobs and rest in self.registry.blobs and self.command == "GET":
            signed = urlencode({"signature": self.registry.new_signature()})
            location = f"{self.registry.scheme}://{self.registry.other}/signed/{rest}?{signed}"
            self._reply(self.registry.redirect_status, b"", {"Location": location})
        else:
            self._blob(rest)

    def _manifest(self, repository: str, name: str) -> None:
        if self.command == "PUT":
            self._put_manifest(repository, name)
            return
        with self.registry.lock:
            digest = self.registry.tags.get((repository, name), name)
            media_type, data = self.registry.manifests.get((repository, digest), ("", b""))
        if not media_type:
            self._error(404, "MANIFEST_UNKNOWN")
            return
        headers = {"Content-Type": media_type}
        if self.registry.digest_header:
            headers["Docker-Content-Digest"] = digest
        self._reply(200, data, headers)

    def _put_manifest(self, repository: str, name: str) -> None:
        digest = digest_of(self.body)
        if ":" in name and name != digest:
            self._error(400, "DIGEST_INVALID")
            return
        media_type = self.headers.get("Content-Type", "")
        tag = "" if ":" in name else name
        self.registry.add_manifest(repository, self.body, tag=tag, media_type=media_type)
        headers = {"Docker-Content-Digest": digest, "Location": f"/v2/{repository}/manifests/{digest}"}
        subject = json.loads(self.body).get("subject")
        if subject and self.registry.referrers:
            headers["OCI-Subject"] = subject["digest"]
        self._reply(201, b"", headers)

    def _referrers(self, repository: str, subject: str) -> None:
        if not self.registry.referrers:
            self._error(404, "PAGE_NOT_FOUND")
            return
        asked = parse_qs(self.query)
        kind = asked.get("artifactType", [""])[0] if self.registry.referrers_filter else ""
        found = self.registry.referrers_of(repository, subject, kind)
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        if kind:
            headers["OCI-Filters-Applied"] = "artifactType"
        page, start = self.registry.referrers_page, int(asked.get("start", ["0"])[0])
        if page and start + page < len(found):
            more = urlencode({"artifactType": kind, "start": start + page})
            headers["Link"] = f'<{self.route}?{more}>; rel="next"'
        if page:
            found = found[start : start + page]
        body = {"schemaVersion": 2, "mediaType": headers["Content-Type"], "manifests": found}
        self._reply(200, json.dumps(body).encode(), headers)

    def _upload(self, repository: str, session: str) -> None:
        if self.command == "POST":
            session = self.registry.new_signature()
            self.registry.uploads[session] = b""
        elif session not in self.registry.uploads:
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        self.registry.uploads[session] += self.body
        digest = parse_qs(self.query).get("digest", [""])[0]
        if not digest:
            self._reply(202, b"", {"Location": f"/v2/{repository}/blobs/uploads/{session}"})
            return
        data = self.registry.uploads.pop(session)
        if digest != "sha256:" + hashlib.sha256(data).hexdigest():
            self._error(400, "DIGEST_INVALID")
            return
        self.registry.blobs[digest] = data
        self._reply(201, b"", {"Location": f"/v2/{repository}/blobs/{digest}"})

    # Bodies

    def _blob(self, digest: str) -> None:
        data = self.registry.blobs.get(digest)
        if data is None:
            self._error(404, "BLOB_UNKNOWN")
            return
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        if not asked or (self.fault and self.fault.ignore_range):
            self._begin(200, size, headers)
            self._send(pieces(data, 0, size))
            return
        if asked[1]:
            start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
        else:
            start, end = max(0, size - int(asked[2])), size - 1
        if self.registry.most_in_a_range:
            end = min(end, start + self.registry.most_in_a_range - 1)
        if start > end:
            self._reply(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        given = (self.fault.content_range if self.fault else "") or f"bytes {start}-{end}/{size}"
        self._begin(206, end + 1 - start, {**headers, "Content-Range": given})
        self._send(pieces(data, start, end + 1))

    def _json(self, status: int, value: Mapping[str, Any]) -> None:
        self._reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        self._reply(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._begin(status, len(body), headers)
        self._send(pieces(body, 0, len(body)))

    def _begin(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.logged.status = status
        self.send_response(status)
        if self.fault and self.fault.chunked:
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: Iterator[bytes]) -> None:
        if self.command == "HEAD":
            return
        left = self.fault.truncate if self.fault and self.fault.truncate >= 0 else None
        for piece in body:
            for part in self._slowly(self._other_bytes(piece)):
                now = part if left is None else part[:left]
                self.logged.sent += len(now)
                self.wfile.write(now)
                if left is not None:
                    left -= len(now)
                    if left <= 0:
                        self.close_connection = True
                        return

    def _slowly(self, piece: bytes) -> Iterator[bytes]:
        if not self.fault or not self.fault.pause:
            yield piece
            return
        for start in range(0, len(piece), self.fault.piece):
            self.wfile.flush()
            time.sleep(self.fault.pause)
            yield piece[start : start + self.fault.piece]

    def _other_bytes(self, piece: bytes) -> bytes:
        return bytes([piece[0] ^ 1]) + piece[1:] if self.fault and self.fault.corrupt and piece else piece


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def pieces(data: bytes | Path, start: int, end: int, size: int = 64 * 1024) -> Iterator[bytes]:
    if isinstance(data, bytes):
        for at in range(start, end, size):
            yield data[at : min(at + size, end)]
        return
    with data.open("rb") as file:
        file.seek(start)
        while start < end and (piece := file.read(min(size, end - start))):
            start += len(piece)
            yield piece
