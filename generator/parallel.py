"""Several reads at once, with an interruption that doesn't wait for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_parallel(work: Sequence[Callable[[], T]], jobs: int) -> Iterator[tuple[int, T | BaseException]]:
    """Runs at most `jobs` of `work` at a time; yields position and result (or what was raised) as they end.

    The threads are daemons: concurrent.futures would have Ctrl-C wait until every running read has ended.
    Once the caller stops iterating, nothing more is begun.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[int, T | BaseException]] = queue.SimpleQueue()
    stopped = threading.Event()
    for position in range(len(work)):
        waiting.put(position)

    def run() -> None:
        while not stopped.is_set():
            try:
                position = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                finished.put((position, work[position]()))
            except BaseException as error:  # noqa: BLE001 # whatever it was, the caller decides
                finished.put((position, error))

    try:
        for _ in range(min(jobs, len(work))):
            threading.Thread(target=run, daemon=True).start()
        for _ in work:
            yield finished.get()
    finally:
        stopped.set()
