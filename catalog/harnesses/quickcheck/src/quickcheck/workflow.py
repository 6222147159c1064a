"""What is evaluated: a workflow that turns an item into a reply, behind an endpoint or in this process.

A reply is a mapping with `text`, `tool_calls` or `embeddings`, and `usage` where the endpoint gives it. The
runner treats both kinds alike.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp

from quickcheck.items import Item

MAX_REPLY = 64 << 20


class Transient(Exception):
    """Worth another try: 429, 5xx, a lost connection, a timeout. `after`: seconds the server asks for."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Permanent(Exception):
    """Another try would end the same way."""


class Workflow(Protocol):
    async def __aenter__(self) -> Self: ...

    async def run(self, item: Item) -> Mapping[str, Any]:
        """Raises Transient or Permanent."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class RemoteWorkflow:
    """An OpenAI-compatible endpoint. `url` is the whole address; `timeout` in seconds for one request."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None,
        timeout: float,
        params: Mapping[str, Any],
        connections: int,
    ) -> None:
        self.url, self.model, self.params = url, model, dict(params)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout, self._connections = timeout, connections

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def run(self, item: Item) -> Mapping[str, Any]:
        body: dict[str, Any] = {"model": self.model, **self.params, **item.body}
        if item.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        try:
            async with self._session.post(self.url, json=body, allow_redirects=False) as answer:
                await _raise_for(answer)
                return await (_read_stream(answer) if item.stream else _read_whole(answer))
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:
            raise Transient(f"{type(problem).__name__}: {problem}") from problem


class LocalWorkflow:
    """A function of this process, `module:function`, that takes an item's body and returns a reply. It may be
    a coroutine function; a plain one runs in a thread, so that it can't hold up the others."""

    def __init__(self, target: str) -> None:
        module, _, name = target.partition(":")
        self._function = getattr(importlib.import_module(module), name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def run(self, item: Item) -> Mapping[str, Any]:
        body = dict(item.body)
        if inspect.iscoroutinefunction(self._function):
            reply = await self._function(body)
        else:
            reply = await asyncio.to_thread(self._function, body)
        return reply if isinstance(reply, Mapping) else {"text": str(reply)}


async def _raise_for(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 300:
        return
    message = f"HTTP {answer.status}: {(await answer.content.read(500)).decode('utf-8', 'replace')}"
    if answer.status == 429 or answer.status >= 500:
        after = answer.headers.get("Retry-After", "")
        raise Transient(message, float(after) if after.replace(".", "", 1).isdigit() else None)
    raise Permanent(message)


async def _read_whole(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        data = json.loads(await answer.read())
        if "data" in data:
            vectors = sorted(data["data"], key=lambda entry: entry["index"])
            return {"embeddings": [entry["embedding"] for entry in vectors], "usage": data.get("usage")}
        choice = data["choices"][0]
        message = choice.get("message") or {"content": choice.get("text")}
        return {
            "text": message.get("content"),
            "tool_calls": message.get("tool_calls"),
            "finish_reason": choice.get("finish_reason"),
            "usage": data.get("usage"),
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise Permanent(
            f"the reply has not the shape of the API: {type(problem).__name__}: {problem}"
        ) from problem


async def _read_stream(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Server-sent events: lines `data: {…}`, the last `data: [DONE]`; a stream without that one broke off."""
    pieces: list[str] = []
    usage, finish, size = None, None, 0
    async for line in answer.content:
        size += len(line)
        if size > MAX_REPLY:
            raise Permanent(f"the stream is longer than {MAX_REPLY} bytes")
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return {"text": "".join(pieces), "finish_reason": finish, "usage": usage, "events": len(pieces)}
        try:
            event = json.loads(data)
            usage = event.get("usage") or usage
            for choice in event.get("choices") or []:
                pieces.append((choice.get("delta") or {}).get("content") or choice.get("text") or "")
                finish = choice.get("finish_reason") or finish
        except (ValueError, AttributeError, TypeError) as problem:
            raise Permanent(f"an event of the stream is broken: {problem}") from problem
    raise Transient("the stream ended before its last event")
