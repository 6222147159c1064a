"""The few answers of GitHub's REST API that are asked for, by a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(slots=True)
class GitHubServer:
    """`pulls` are the pull requests of `team/evals`. `refuse` is a status for every request."""

    url: str = ""
    token: str = "token-of-the-job"
    pulls: list[dict[str, Any]] = field(default_factory=list)
    refuse: int | None = None
    redirect: str | None = None
    requests: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, data: Any) -> tuple[int, Any]:
        parts = urlsplit(path)
        if self.refuse:
            return self.refuse, {"message": "Resource not accessible by integration"}
        if parts.path == "/repos/team/evals/pulls" and method == "GET":
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            head, base = query["head"].removeprefix("team:"), query["base"]
            return 200, [p for p in self.pulls if (p["head"], p["base"], p["state"]) == (head, base, "open")]
        if parts.path == "/repos/team/evals/pulls" and method == "POST":
            number = len(self.pulls) + 1
            url = f"https://github.example/team/evals/pull/{number}"
            self.pulls.append({**data, "number": number, "state": "open", "html_url": url})
            return 201, self.pulls[-1]
        if parts.path.startswith("/repos/team/evals/pulls/") and method == "PATCH":
            pull = self.pulls[int(parts.path.rpartition("/")[2]) - 1]
            pull.update(data)
            return 200, pull
        return 404, {"message": "Not Found"}


@contextmanager
def github_server() -> Iterator[GitHubServer]:
    known = GitHubServer()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            known.requests.append(f"{self.command} {self.path}")
            length = int(self.headers.get("Content-Length") or 0)
            data = json.loads(self.rfile.read(length)) if length else None
            if known.redirect:
                self.send_response(307)
                self.send_header("Location", known.redirect)
                self.end_headers()
                return
            if self.headers.get("Authorization") != f"Bearer {known.token}":
                status, answer = 401, {"message": "Bad credentials"}
            else:
                status, answer = known.answer(self.command, self.path, data)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def do_PATCH(self) -> None:
            self._reply()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
