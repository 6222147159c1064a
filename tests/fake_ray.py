"""A Ray dashboard that answers what a test wants it to: the server is faked, never the client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from launched import Place
from launcher.jobs import JobHandle, RunPlan


class FakeRay:
    """A server that answers as `answer(method, path, body)` says: a status and a JSON value or a text."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.answer: Callable[[str, str], tuple[int, Any]] = lambda *_: (404, "not there")
        self.late = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path))
                outer.bodies.append(json.loads(body) if body[:1] == b"{" else body)
                status, answer = outer.answer(self.command, self.path)
                if status == 0:  # as a proxy whose other side is gone
                    outer.late.wait(20)
                    return
                data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = reply  # noqa: N815 # http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def close(self) -> None:
        self.late.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def job(handle: JobHandle, state: str, **more: Any) -> dict[str, Any]:
    return {"submission_id": f"evaldock-{handle.key}-{handle.attempt}", "status": state, **more}


def handle_of(place: Place, run: RunPlan) -> JobHandle:
    first = run.jobs[0]
    return JobHandle(
        key=first.key,
        backend="ray",
        native_id=f"evaldock-{first.key}-1",
        directory=run.folder(first),
        settings=run.settings,
    )
