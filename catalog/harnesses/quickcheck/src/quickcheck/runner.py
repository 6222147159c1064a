"""Runs a workflow over items: bounded concurrency, retries with backoff, repeats, checkpoints."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quickcheck.checkpoint import Checkpoint
from quickcheck.checks import CHECKS
from quickcheck.items import Item
from quickcheck.workflow import Transient, Workflow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """`parallelism` counts requests in flight, `retries` the tries after the first, `backoff` the first pause
    in seconds (doubled each time up to `backoff_limit`, with jitter), `longest_wait` how many seconds of a
    server's Retry-After are honoured, `repeats` how often each is asked."""

    parallelism: int = 8
    retries: int = 5
    backoff: float = 0.5
    backoff_limit: float = 30.0
    longest_wait: float = 300.0
    repeats: int = 1


async def run(
    items: Sequence[Item], workflow: Workflow, checkpoint: Checkpoint, settings: Settings
) -> list[dict[str, Any]]:
    """One record an item and repeat, in the order of the data: those of earlier attempts, then what was done
    now. An item that fails for good has `error`; it doesn't stop the others."""
    wanted = dict(repeated(items, settings.repeats))
    records = {name: r for name, r in checkpoint.completed().items() if name in wanted}
    todo = iter([(name, item) for name, item in wanted.items() if name not in records])
    if records:
        log.info("%d of %d items were finished by an earlier attempt", len(records), len(wanted))
    async with checkpoint, workflow, asyncio.TaskGroup() as group:
        for _ in range(min(settings.parallelism, len(wanted) - len(records))):
            group.create_task(_work(todo, workflow, checkpoint, settings, records))
    return [records[name] for name in wanted if name in records]


def repeated(items: Sequence[Item], repeats: int) -> Iterator[tuple[str, Item]]:
    for item in items:
        for turn in range(repeats):
            yield (item.id if repeats == 1 else f"{item.id}#{turn}"), item


async def _work(
    todo: Iterator[tuple[str, Item]],
    workflow: Workflow,
    checkpoint: Checkpoint,
    settings: Settings,
    records: dict[str, dict[str, Any]],
) -> None:
    for name, item in todo:
        record = {"id": name, **await _attempt(item, workflow, settings)}
        await checkpoint.finished(name, record)
        records[name] = record


async def _attempt(item: Item, workflow: Workflow, settings: Settings) -> dict[str, Any]:
    """`latency` is that of the try that succeeded, in seconds; `tries` counts all of them."""
    tries = 0
    async for pause in _pauses(settings):
        tries += 1
        began = time.perf_counter()
        try:
            reply = await workflow.run(item)
        except Transient as problem:
            error: Exception = problem
            log.debug("item %s, try %d: %s", item.id, tries, problem)
            if tries <= settings.retries:
                await asyncio.sleep(max(pause, min(problem.after or 0.0, settings.longest_wait)))
            continue
        except Exception as problem:  # a workflow of the user's may raise anything
            log.debug("item %s failed", item.id, exc_info=True)
            return {"error": f"{type(problem).__name__}: {problem}", "tries": tries}
        latency = time.perf_counter() - began
        return {**_judged(item, reply), "latency": round(latency, 6), "tries": tries}
    return {"error": f"{type(error).__name__}: {error}", "tries": tries}


async def _pauses(settings: Settings) -> AsyncIterator[float]:
    for turn in range(settings.retries + 1):
        pause = min(settings.backoff * 2**turn, settings.backoff_limit)
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 # spreads retries, guards nothing


def _judged(item: Item, reply: Mapping[str, Any]) -> dict[str, Any]:
    try:
        score, reason = CHECKS[item.check](reply, item.expected)
    except Exception as problem:  # a reply may have any shape, and only this item is wrong then
        log.debug("item %s: its reply can't be judged", item.id, exc_info=True)
        score, reason = 0.0, f"the reply has not the shape of the API: {type(problem).__name__}: {problem}"
    vectors = reply.get("embeddings")
    output = f"{len(vectors)} vectors" if isinstance(vectors, list) else reply.get("text")
    record = {"score": score, "output": output, "usage": reply.get("usage")}
    if reply.get("tool_calls"):
        record["tool_calls"] = reply["tool_calls"]
    if reason:
        record["reason"] = reason
    return record
