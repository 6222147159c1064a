"""The stand-in's HTTP side: HTTP/1.1 with keep-alive and server-sent events on asyncio streams.

Format: OpenAI's API reference for /v1/models, /v1/chat/completions, /v1/completions, /v1/embeddings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from launcher.standin import answers
from launcher.standin.faults import Fault, for_request

MAX_BODY = 64 << 20
MAX_HEADERS = 64 << 10


@dataclass(slots=True)
class Standin:
    """A server's settings and what it has seen. `latency` in seconds before each answer of a model endpoint;
    `key`, where given, is what `Authorization: Bearer` must say. A request's header `x-standin-fault` adds
    a fault for itself."""

    model: str = "stand-in"
    latency: float = 0.0
    key: str | None = None
    faults: Sequence[Fault] = ()
    requests: int = 0
    running: int = 0
    peak: int = 0
    by_status: dict[int, int] = field(default_factory=dict)

    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
        """Starts to listen; the port is in the returned server's sockets."""
        return await asyncio.start_server(self._connection, host, port, limit=MAX_HEADERS, backlog=1024)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while request := await _read_request(reader):
                    if not await self._answer(request, writer):
                        break
        finally:
            writer.close()

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> bool:
        """False when the connection ends with it."""
        if request.path in ("/health", "/v1/health/ready", "/"):
            return await self._send(writer, 200, {"status": "ok"})
        if request.path == "/stats":
            return await self._send(writer, 200, self.stats())
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return await self._send(writer, 401, _error("missing or wrong key", "invalid_api_key"))
        if request.path.endswith("/models") and request.method == "GET":
            listed = {"id": self.model, "object": "model", "created": 0, "owned_by": "evaldock"}
            return await self._send(writer, 200, {"object": "list", "data": [listed]})
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self._model(request, writer)
        finally:
            self.running -= 1

    async def _model(self, request: _Request, writer: asyncio.StreamWriter) -> bool:
        self.requests += 1
        faults = for_request(self.faults, self.requests)
        if asked := request.headers.get("x-standin-fault"):
            faults.append(Fault.parse(asked))
        await asyncio.sleep(self.latency + sum(fault.delay for fault in faults))
        if any(fault.what == "drop" for fault in faults):
            return False
        status = next((fault.status for fault in faults if fault.status), None)
        if status is not None:
            return await self._send(writer, status, _error("a fault made on request", "standin_fault"))
        try:
            body = json.loads(request.body or b"{}")
        except ValueError as problem:
            return await self._send(
                writer, 400, _error(f"the body is not JSON: {problem}", "invalid_request")
            )
        if not isinstance(body, dict):
            return await self._send(writer, 400, _error("the body is not a JSON object", "invalid_request"))
        reply = _reply(request.path, body, self.model)
        if reply is None:
            return await self._send(writer, 404, _error(f"no such path: {request.path}", "not_found"))
        if any(fault.what == "truncate" for fault in faults):
            await self._send(writer, 200, reply, cut=True)
            return False
        if body.get("stream") and "choices" in reply:
            return await self._stream(
                writer, reply, bool((body.get("stream_options") or {}).get("include_usage"))
            )
        return await self._send(writer, 200, reply)

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: object, *, cut: bool = False
    ) -> bool:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        data = json.dumps(body, ensure_ascii=False).encode()
        head = [
            f"HTTP/1.1 {status} {_phrase(status)}",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
        ]
        if status in (429, 503):
            head.append("Retry-After: 0")
        writer.write("\r\n".join([*head, "", ""]).encode() + (data[: len(data) // 2] if cut else data))
        await writer.drain()
        return True

    async def _stream(self, writer: asyncio.StreamWriter, reply: Mapping[str, Any], usage: bool) -> bool:
        self.by_status[200] = self.by_status.get(200, 0) + 1
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for event in _events(reply, usage):
            data = f"data: {event}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def stats(self) -> dict[str, Any]:
        return {"requests": self.requests, "peak": self.peak, "by_status": dict(self.by_status)}


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        return None
    path = rest.partition(" ")[0].partition("?")[0]
    return _Request(method, path, headers, await reader.readexactly(int(length)))


def _reply(path: str, body: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    named = str(body.get("model") or model)
    if path.endswith("/chat/completions"):
        return _chat(body, named)
    if path.endswith("/completions"):
        text = answers.answer(body)
        return _whole(
            "text_completion", named, body, [{"index": 0, "text": text, "finish_reason": "stop"}], text
        )
    if path.endswith("/embeddings"):
        given = body.get("input", "")
        texts = given if isinstance(given, list) else [given]
        count = int(body.get("dimensions") or 64)
        data = [
            {
                "object": "embedding",
                "index": i,
                "embedding": answers.embedding(str(t), min(max(count, 1), 4096)),
            }
            for i, t in enumerate(texts)
        ]
        used = sum(answers.tokens(str(t)) for t in texts)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "model": named, "data": data, "usage": usage}
    return None


def _chat(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    call = answers.tool_call(body)
    if call is not None:
        message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return _whole("chat.completion", model, body, [choice], call["function"]["arguments"])
    text = answers.answer(body)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return _whole("chat.completion", model, body, [choice], text)


def _whole(
    kind: str, model: str, body: Mapping[str, Any], choices: list[dict[str, Any]], said: str
) -> dict[str, Any]:
    asked, given = answers.tokens(answers.prompt_of(body)), answers.tokens(said)
    usage = {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}
    return {
        "id": "stand-in",
        "object": kind,
        "created": 0,
        "model": model,
        "choices": choices,
        "usage": usage,
    }


def _events(reply: Mapping[str, Any], usage: bool) -> Iterator[str]:
    choice = reply["choices"][0]
    base = {key: reply[key] for key in ("id", "created", "model")}
    chat = "message" in choice
    base["object"] = "chat.completion.chunk" if chat else reply["object"]

    def event(part: dict[str, Any], finish: str | None = None) -> str:
        piece = {"index": 0, "finish_reason": finish} | ({"delta": part} if chat else part)
        return json.dumps({**base, "choices": [piece]}, ensure_ascii=False)

    if chat and choice["message"].get("tool_calls"):
        calls = [{"index": i, **call} for i, call in enumerate(choice["message"]["tool_calls"])]
        yield event({"role": "assistant", "tool_calls": calls})
    else:
        text = choice["message"]["content"] if chat else choice["text"]
        for start in range(0, max(len(text), 1), 8):
            yield event({"content" if chat else "text": text[start : start + 8]})
    yield event({} if chat else {"text": ""}, choice["finish_reason"])
    if usage:
        yield json.dumps({**base, "choices": [], "usage": reply["usage"]})
    yield "[DONE]"


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "code": code}}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
