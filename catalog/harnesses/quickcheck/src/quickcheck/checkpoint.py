"""Incremental checkpoints of an evaluation. Standard library alone: copy this file or import it.

    checkpoint = Checkpoint(Path("out"), fingerprint={"task": "chat", "data": "sha256:…"})
    done = checkpoint.completed()                  # id -> record of an earlier attempt
    async with checkpoint:                         # starts the writing thread
        await checkpoint.finished("item-7", {"output": "42"})
    checkpoint.write_final(records)

Files in the directory:
- `workflow_output.jsonl`: one line an item, in the order of finishing. An item is finished when its line has
  reached the operating system: `finished` returns only then, so a killed process leaves exactly as many
  whole lines as items had finished, and at most one torn line behind them.
- `workflow_output.fingerprint.json`: what was evaluated. An attempt with another fingerprint is refused.
- `workflow_output.json`: all items in the order of the data, at the end.

Reading tolerates torn lines anywhere; of several lines with one id the last counts; a line with an `error` is
an item to do again. Nothing here deletes or rewrites the lines it has read.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

LINES = "workflow_output.jsonl"
FINAL = "workflow_output.json"
FINGERPRINT = "workflow_output.fingerprint.json"

Record = dict[str, Any]
Line = tuple[bytes, "asyncio.Future[bool]", str]

log = logging.getLogger(__name__)


class FingerprintMismatch(Exception):
    """The directory holds the checkpoint of another evaluation."""


def fingerprint_of(parts: Mapping[str, Any]) -> str:
    """sha256 over canonical JSON: the same parts give the same fingerprint on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(_bytes(text)).hexdigest()


def read_lines(path: Path) -> dict[str, Record]:
    """The last whole line of each id. Torn or foreign lines are passed over; a missing file is empty."""
    records: dict[str, Record] = {}
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return records
    for line in data.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            records[record["id"]] = record
    return records


class Checkpoint:
    """One evaluation's checkpoint in `directory`.

    `keep`, where given, chooses which fields of a record are written (`id` and `error` always are). With
    `enabled=False` nothing is read or written. Raises FingerprintMismatch where the directory belongs to an
    evaluation with other parts.
    """

    def __init__(
        self,
        directory: Path,
        fingerprint: Mapping[str, Any],
        *,
        keep: Callable[[str], bool] | None = None,
        enabled: bool = True,
    ) -> None:
        self.directory = directory
        self.parts = dict(fingerprint)
        self.keep = keep
        self.enabled = enabled
        self._queue: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        if enabled:
            self._check_fingerprint()

    def completed(self) -> dict[str, Record]:
        """Records of earlier attempts that need no second try."""
        if not self.enabled:
            return {}
        return {i: r for i, r in read_lines(self.directory / LINES).items() if r.get("error") is None}

    async def __aenter__(self) -> Checkpoint:
        self._loop = asyncio.get_running_loop()
        if self.enabled:
            await asyncio.to_thread(self._prepare)
            self._thread = threading.Thread(target=self._write_lines, name="checkpoint")
            self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def finished(self, item_id: str, record: Mapping[str, Any]) -> bool:
        """True once the item's line is written. False, with the traceback in the log, where it could not be
        serialised or written: the other items are not affected."""
        if not self.enabled:
            return False
        try:
            line = self._line(item_id, record)
        except Exception:
            log.exception("item %s: its checkpoint line could not be made", item_id)
            return False
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.put((line, done, item_id))
        return await done

    def write_final(self, records: Iterable[Mapping[str, Any]]) -> Path | None:
        """Replaces `workflow_output.json` by these records in one step; None where output is off. What can't
        be serialised is left out, as it was from the lines. Raises OSError."""
        if not self.enabled:
            return None
        final = self.directory / FINAL
        kept = []
        for record in records:
            try:
                kept.append(json.loads(self._line(str(record["id"]), record)))
            except Exception:
                log.exception("item %s: left out of %s", record["id"], FINAL)
        self.directory.mkdir(parents=True, exist_ok=True)
        _replace(final, _bytes(json.dumps(kept, ensure_ascii=False, indent=1)))
        return final

    def _line(self, item_id: str, record: Mapping[str, Any]) -> bytes:
        fields = {k: v for k, v in record.items() if self.keep is None or k == "error" or self.keep(k)}
        return _bytes(json.dumps({**fields, "id": item_id}, ensure_ascii=False))

    def _check_fingerprint(self) -> None:
        path = self.directory / FINGERPRINT
        try:
            stored = json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except ValueError as problem:
            raise FingerprintMismatch(f"{path} is not readable JSON: {problem}") from problem
        if stored.get("fingerprint") == fingerprint_of(self.parts):
            return
        before = stored.get("parts", {})
        names = sorted(k for k in {*before, *self.parts} if before.get(k) != self.parts.get(k))
        raise FingerprintMismatch(
            f"{self.directory} holds the checkpoint of another evaluation: {', '.join(names) or 'its parts'} "
            "differ. Choose another output directory, or go back to the former configuration."
        )

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        parts = {"fingerprint": fingerprint_of(self.parts), "parts": self.parts}
        _replace(self.directory / FINGERPRINT, _bytes(json.dumps(parts, ensure_ascii=False, indent=1)))

    def _write_lines(self) -> None:
        """The writing thread: takes whatever has gathered, writes it at one go, then reports each item."""
        file = -1
        while (first := self._queue.get()) is not None:
            lines, last = [first], False
            while not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    last = True
                    break
                lines.append(following)
            written = False
            try:
                if file < 0:
                    file = self._open()
                _write_all(file, b"".join(line + b"\n" for line, _, _ in lines))
                written = True
            except OSError:
                log.exception("items %s: not written", ", ".join(item_id for _, _, item_id in lines))
                # What was written of it is a torn line: the next write must begin on a new one.
                file = _closed(file)
            self._report([done for _, done, _ in lines], written)
            if last:
                break
        _closed(file)

    def _open(self) -> int:
        path = self.directory / LINES
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            _write_all(file, b"\n")
        return file

    def _report(self, futures: list[asyncio.Future[bool]], written: bool) -> None:
        def resolve() -> None:
            for future in futures:
                if not future.done():
                    future.set_result(written)

        if self._loop is not None:
            self._loop.call_soon_threadsafe(resolve)


def _bytes(text: str) -> bytes:
    """JSON text as UTF-8. A lone surrogate, which UTF-8 lacks, becomes the JSON escape that stands for it."""
    return text.encode("utf-8", "backslashreplace")


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _closed(file: int) -> int:
    if file >= 0:
        os.close(file)
    return -1


def _replace(path: Path, data: bytes) -> None:
    waiting = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    waiting.write_bytes(data)
    waiting.replace(path)
