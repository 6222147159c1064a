"""How far a job is, from whatever its harness leaves in its results folder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.runs import run_directory

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
    with suppress(OSError):
        count, whole = _count_lines(artifacts / LINES), _total(artifacts / FINGERPRINT)
        return Progress(count if whole is None else min(count, whole), whole)
    try:
        with run_directory.open_file(artifacts / COUNTER) as file:
            text = file.read(101)
        done, _, total = text.decode().strip().partition("/") if len(text) <= 100 else ("", "", "")
        return Progress(int(done), int(total) if total else None)
    except (OSError, ValueError):
        return None


def _count_lines(path: Path) -> int:
    """Whole lines; an item that was tried in two attempts counts twice."""
    count = 0
    with run_directory.open_file(path) as file:
        while block := file.read(MAX_BYTES):
            count += block.count(b"\n")
    return count


def _total(path: Path) -> int | None:
    try:
        with run_directory.open_file(path) as file:
            total = (run_directory.json_object(file.read(MAX_BYTES)) or {})["parts"]["items"]
    except (OSError, KeyError, TypeError):
        return None
    return total if isinstance(total, int) and not isinstance(total, bool) else None
