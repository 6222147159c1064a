"""Filtering all tasks in Chromium: how long from a key to the painted answer?

    PYTHONPATH=.:tests .venv/bin/python -m benchmarks.keystroke [SITE]

SITE is a folder with a built site; without it one of 10,000 synthetic tasks is built first.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from built_site import build_site
from services.browser import find_chromium, find_node, open_browser
from services.shared import Shared
from synthetic import make_catalog

TASKS = 10_000
QUERIES = ("math", "function calling", "multilingual law", "harness-003.code_00", "e", "0001")


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from an event to the painted answer."""

    median: float
    p95: float
    worst: float

    @classmethod
    def of(cls, times: list[float]) -> Latency:
        ordered = sorted(times)
        return cls(statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1])


@dataclass(frozen=True, slots=True)
class Measured:
    """`loaded`: milliseconds until the page with its data had loaded from disk and shown everything."""

    tasks: int
    loaded: float
    keys: Latency
    ticks: Latency


def measure(site: Path) -> Measured:
    """`site` is a folder with a built site. Raises Unavailable where there is no Chromium or Node."""
    with tempfile.TemporaryDirectory() as folder:
        chromium = find_chromium(Shared(Path(folder), os.getpid()))
    with open_browser(chromium, find_node()) as browser:
        given = {"url": (site / "browse.html").as_uri(), "queries": QUERIES}
        seen = browser.run(Path(__file__).with_suffix(".mjs"), "keystrokes", given).value
    return Measured(seen["tasks"], seen["loaded"], Latency.of(seen["keys"]), Latency.of(seen["ticks"]))


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments:
            site = Path(arguments[0]).resolve()
        else:
            site = build_site(make_catalog(folder / "catalog", harnesses=25, tasks=TASKS), folder).folder
        measured = measure(site)
    print(f"{measured.tasks:,} tasks; page loaded in {measured.loaded:.0f} ms")
    for label, times in (("a key", measured.keys), ("a filter", measured.ticks)):
        print(f"{label}: median {times.median:.0f} ms, p95 {times.p95:.0f} ms, worst {times.worst:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
