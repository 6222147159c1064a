"""How far a job is, from whatever its harness leaves in its results folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

LINES = "workflow_output.jsonl"
FINGERPRINT = "workflow_output.fingerprint.json"
COUNTER = "progress"
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """Items finished, and of how many where that is known."""

    done: int
    total: int | None = None

    def __str__(self) -> str:
        return f"{self.done}/{self.total}" if self.total else f"{self.done} items"


def read(artifacts: Path) -> Progress | None:
    """Checkpoint lines first, then the `progress` file (one number, or `done/total`); None for neither."""
    lines = artifacts / LINES
    if lines.is_file():
        count, whole = _count_lines(lines), _total(artifacts / FINGERPRINT)
        return Progress(count if whole is None else min(count, whole), whole)
    counter = artifacts / COUNTER
    try:
        if counter.stat().st_size > 100:
            return None
        done, _, total = counter.read_text().strip().partition("/")
        return Progress(int(done), int(total) if total else None)
    except (OSError, ValueError):
        return None


def _count_lines(path: Path) -> int:
    """Whole lines; an item that was tried in two attempts counts twice."""
    count = 0
    with path.open("rb") as file:
        while block := file.read(MAX_BYTES):
            count += block.count(b"\n")
    return count


def _total(path: Path) -> int | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        total = json.loads(path.read_bytes())["parts"]["items"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return total if isinstance(total, int) and not isinstance(total, bool) else None
