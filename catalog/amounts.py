"""Amounts of bytes for people, and the progress of what takes many of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from catalog.console import note

# Seconds between lines where there is no terminal.
_PAUSE = 5.0


def bytes_text(count: int) -> str:
    """In decimal units, as registries and disks are counted."""
    if count < 1000:
        return f"{count} bytes"
    size, units = count / 1000, ["kB", "MB", "GB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.0f} {units[0]}" if size >= 99.5 else f"{size:.1f} {units[0]}"


@contextmanager
def byte_progress(label: str, verb: str = "read") -> Iterator[Callable[[int, int], None]]:
    """Yields what to call, from any thread, with the bytes done and those expected so far.

    A bar where a terminal is there, once there is something to show; else a line now and then.
    """
    if not sys.stderr.isatty():
        yield _lines(label, verb)
        return
    from rich.console import Console  # noqa: PLC0415 # only a terminal needs it
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bars.add_task(label, total=None)

    def show(done: int, expected: int) -> None:
        bars.start()
        bars.update(task, completed=done, total=max(done, expected))

    try:
        yield show
    finally:
        bars.stop()


def _lines(label: str, verb: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, expected: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PAUSE:
            last = time.monotonic()
            note(f"{label}: {verb} {bytes_text(done)} of {bytes_text(max(done, expected))}")

    return show
