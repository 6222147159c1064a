"""Progress of long work on stderr: a bar where a terminal is there, plain lines where not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from catalog.console import one_line, out


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yields what to call when one of `total` parts is done, with a line that says what came of it. To be
    called from one thread."""
    if sys.stderr.isatty() and total > 1:
        with _bar(label, total) as done:
            yield done
        return
    finished = 0

    def plain(line: str) -> None:
        nonlocal finished
        finished += 1
        out(f"[{finished:>{len(str(total))}}/{total}] {one_line(line)}", err=True)

    yield plain


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[str], None]]:
    from rich.console import Console  # noqa: PLC0415 # 40 ms that only a terminal needs
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)

        def done(line: str) -> None:
            bars.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
            bars.advance(task)

        yield done
