"""What quickcheck is measured against: the same requests by aiohttp alone, so many at a time, nothing kept.

bare_client.py URL REQUESTS AT_ONCE
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
from quickcheck.items import TASKS


async def ask(url: str, requests: int, at_once: int) -> None:
    items = TASKS["chat"].items()
    bodies = iter([{"model": "m", **items[number % len(items)].body} for number in range(requests)])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:
        await asyncio.gather(*(_ask_all(session, url, bodies) for _ in range(at_once)))


async def _ask_all(session: aiohttp.ClientSession, url: str, bodies: Iterator[Mapping[str, Any]]) -> None:
    for body in bodies:
        async with session.post(url, json=body) as answer:
            answer.raise_for_status()
            await answer.json()


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
