"""What is evaluated: a workflow that turns an item into a reply, behind an endpoint or in this process.

A reply is a mapping with `text`, `tool_calls` or `embeddings`, and `usage` where the endpoint gives it. The
runner treats both kinds alike.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp

from quickcheck.items import Item

MAX_REPLY = 64 << 20


class Transient(Exception):
    """Worth another try: 408, 429, 5xx, a lost connection, a timeout. `after`: seconds the server wants."""

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
        except aiohttp.InvalidURL as problem:
            raise Permanent(f"not an address: {problem}") from problem
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:
            raise Transient(f"{type(problem).__name__}: {problem}") from problem


class LocalWorkflow:
    """A function of this process, `module:function`, that takes an item's body and returns a reply. It may be
    a coroutine function; a plain one runs in one of `threads` threads, so that it can't hold up the others.
    Raises ImportError or AttributeError where there is no such function."""

    def __init__(self, target: str, threads: int) -> None:
        module, _, name = target.partition(":")
        self._function = getattr(importlib.import_module(module), name)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="workflow")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, item: Item) -> Mapping[str, Any]:
        body = dict(item.body)
        if inspect.iscoroutinefunction(self._function):
            reply = await self._function(body)
        else:
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(self._threads, self._function, body)
        return reply if isinstance(reply, Mapping) else {"text": str(reply)}


async def _raise_for(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 300:
        return
    message = f"HTTP {answer.status}: {(await answer.content.read(500)).decode('utf-8', 'replace')}"
    if answer.status in (408, 429) or answer.status >= 500:
        raise Transient(message, seconds_to_wait(answer.headers.get("Retry-After", "")))
    raise Permanent(message)


def seconds_to_wait(header: str) -> float | None:
    """Retry-After of RFC 9110, 10.2.3: seconds or a date. None for anything else."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", header.strip(), re.ASCII):
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


async def _read_whole(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    data: Any = bytearray()
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > MAX_REPLY:
            raise Permanent(f"the reply is longer than {MAX_REPLY} bytes")
    try:
        data = json.loads(data)
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
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as problem:
        raise Permanent(
            f"the reply has not the shape of the API: {type(problem).__name__}: {problem}"
        ) from problem


async def _read_stream(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Server-sent events: lines `data: {…}`, the last `data: [DONE]`; a stream without that one broke off."""
    pieces: list[str] = []
    usage, finish = None, None
    async for line in _lines(answer):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return {"text": "".join(pieces), "finish_reason": finish, "usage": usage, "events": len(pieces)}
        try:
            event = json.loads(data)
            if event.get("error"):
                raise Transient(f"the stream reports an error: {json.dumps(event['error'])[:500]}")
            usage = event.get("usage") or usage
            for choice in event.get("choices") or []:
                pieces.append((choice.get("delta") or {}).get("content") or choice.get("text") or "")
                finish = choice.get("finish_reason") or finish
        except (ValueError, AttributeError, TypeError, RecursionError) as problem:
            raise Permanent(f"an event of the stream is broken: {problem}") from problem
    raise Transient("the stream ended before its last event")


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length; aiohttp's own reading by lines refuses long ones."""
    rest, size = bytearray(), 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > MAX_REPLY:
            raise Permanent(f"the stream is longer than {MAX_REPLY} bytes")
        rest += chunk
        if b"\n" in chunk:
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in lines:
                yield line
    yield bytes(rest)
