"""A reverse proxy on loopback, before a registry: it adds latency, asks for tokens, counts.

Plain HTTP/1.1. With `tokens` it does as public registries do: whoever has no token for a repository gets 401
and the address where anybody gets one. Each new connection and each request waits `latency` seconds, as a
round trip would take; the bandwidth isn't limited. Bodies of answers are passed on as they come.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_PIECE = 1 << 18
_ROUTE = re.compile(rb"/v2/(?P<repository>.+?)/(?:manifests|blobs|referrers|tags)/")
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ")


@dataclass(slots=True)
class Counted:
    """`requests` are "METHOD path", in the order of arrival; `received` counts the bytes of bodies."""

    requests: list[str] = field(default_factory=list)
    received: int = 0


class Proxy:
    def __init__(self, upstream: str, *, latency: float = 0.0, tokens: bool = False) -> None:
        self.latency = latency
        self.tokens = tokens
        self.counted = Counted()
        self._upstream = upstream
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def take(self) -> Counted:
        """What was counted since the last time."""
        with self._lock:
            counted, self.counted = self.counted, Counted()
        return counted

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, _, port = self._upstream.partition(":")
        with (
            contextlib.suppress(OSError, _Over),
            client,
            socket.create_connection((host, int(port))) as server,
        ):
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(self.latency)
            asking, answering = _Stream(client), _Stream(server)
            while True:
                self._exchange(asking, answering)

    def _token(self, path: bytes, head: bytes) -> bytes:
        """The answer where the proxy itself gives one. A token is a repository's name in hexadecimal."""
        found = _ROUTE.match(path)
        repository = found["repository"] if found else b""
        if path.startswith(b"/token"):
            scope = parse_qs(urlsplit(path.decode()).query).get("scope", ["repository::pull"])[0]
            repository = scope.split(":")[1].encode()
            return _answer(b"200 OK", {}, json.dumps({"token": repository.hex() or "00"}).encode())
        token = _header(head, b"authorization").removeprefix(b"Bearer ")
        if token and token in (repository.hex().encode(), b"" if repository else token):
            return b""
        challenge = f'Bearer realm="http://{self.host}/token",service="bench"'
        if repository:
            challenge += f',scope="repository:{repository.decode()}:pull"'
        return _answer(b"401 Unauthorized", {"WWW-Authenticate": challenge}, b"{}")

    def _exchange(self, client: _Stream, server: _Stream) -> None:
        head = client.head()
        if not head.startswith(_METHODS):
            raise _Over  # such as somebody who tries TLS first
        method, path = head.split(b" ", 2)[:2]
        with self._lock:
            self.counted.requests.append(f"{method.decode()} {path.decode()}")
        time.sleep(self.latency)
        if self.tokens and (answer := self._token(path, head)):
            client.connection.sendall(
                answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else answer
            )
            with self._lock:
                self.counted.received += 0 if method == b"HEAD" else _length(answer)
            return
        server.connection.sendall(head)
        for _ in client.pass_on(_length(head), server.connection):
            pass
        answer = server.head()
        client.connection.sendall(answer)
        if method == b"HEAD" or answer.split(b" ", 2)[1] in (b"204", b"304"):
            return
        if b"\r\ntransfer-encoding: chunked" in answer.lower():
            raise _Over  # a registry sends no such answer to a reader; the connection ends, which shows
        for size in server.pass_on(_length(answer), client.connection):
            with self._lock:
                self.counted.received += size


class _Over(Exception):
    """The connection has ended."""


class _Stream:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = b""

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            more = self.connection.recv(65536)
            if not more:
                raise _Over
            self._buffer += more
            if not self._buffer.startswith((b"HTTP/1.", *_METHODS)) and len(self._buffer) > 8:
                raise _Over
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def pass_on(self, length: int, target: socket.socket) -> Iterator[int]:
        """The size of each piece, once it was sent."""
        while length > 0:
            piece = self._buffer[:length] or self.connection.recv(min(length, _PIECE))
            self._buffer = self._buffer[len(piece) :]
            if not piece:
                raise _Over
            target.sendall(piece)
            length -= len(piece)
            yield len(piece)


def _answer(status: bytes, headers: Mapping[str, str], body: bytes) -> bytes:
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return b"HTTP/1.1 " + status + b"\r\n" + lines.encode() + b"\r\n" + body


def _length(head: bytes) -> int:
    return int(_header(head, b"content-length") or 0)


def _header(head: bytes, wanted: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == wanted:
            return value.strip()
    return b""
