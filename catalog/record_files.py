"""Published results on disk: `results/<harness>/<task>/<model>/<run>.json`, and scores per sample beside."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused, UsageError
from catalog.records import Record, from_data, number, to_data

RESULTS = "results"
SAMPLES_ENDING = ".samples.json"
MAX_BYTES = 8 << 20
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def safe_name(text: str) -> str:
    """One path component, the same on every file system, different for different texts."""
    if _SAFE.fullmatch(text) and text == text.lower():
        return text
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.")[:60] or "x"
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def path_of(record: Record) -> Path:
    """Relative to a catalog's `results/`."""
    parts = (record.harness, record.task, record.model)
    return Path(*(safe_name(part) for part in parts), f"{safe_name(record.run)}.json")


def text_of(record: Record) -> bytes:
    return (json.dumps(to_data(record), ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def write(root: Path, record: Record, samples: Mapping[str, float] | None = None) -> list[Path]:
    """Writes the record (and its scores per sample) below `root`/results; the files made.

    The same record again makes none. Raises Refused where another one has that name: a published result is
    never overwritten."""
    file = root / RESULTS / path_of(record)
    made = []
    if samples:
        text = (json.dumps(dict(samples), ensure_ascii=False, sort_keys=True) + "\n").encode()
        made += _create(samples_path(file), text)
    return [*made, *_create(file, text_of(record))]


def samples_path(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".json") + SAMPLES_ENDING)


def _create(file: Path, data: bytes) -> list[Path]:
    """A link is made only where nothing has that name, and never shows half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    waiting.write_bytes(data)
    try:
        os.link(waiting, file)
    except FileExistsError:
        if file.read_bytes() == data:
            return []
        raise Refused(
            "another result was published under this name",
            place=str(file),
            hint="published results stay as they are",
        ) from None
    finally:
        waiting.unlink()
    return [file]


def read(file: Path) -> Record:
    """Raises UsageError, naming the file, for one that isn't a record."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"larger than {MAX_BYTES} bytes")
        return from_data(json.loads(file.read_bytes()))
    except (UsageError, ValueError, OSError) as problem:
        raise UsageError(f"not a result record: {problem}", place=str(file)) from None


def read_samples(file: Path) -> dict[str, float]:
    """Scores per sample of the record in `file`; empty where there are none to be had."""
    try:
        data = json.loads(samples_path(file).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {name: known for name, value in data.items() if (known := number(value)) is not None}


@dataclass(frozen=True, slots=True)
class Published:
    """A record with the file it came from, relative to the catalog."""

    record: Record
    file: Path


def load_all(root: Path) -> tuple[list[Published], list[str]]:
    """All records of a catalog by path, and a line for each file that isn't one."""
    found: list[Published] = []
    problems: list[str] = []
    files = sorted((root / RESULTS).rglob("*.json"))
    for file in files:
        if file.name.endswith(SAMPLES_ENDING) or file.name.startswith("."):
            continue
        try:
            found.append(Published(read(file), file.relative_to(root)))
        except UsageError as problem:
            problems.append(str(problem))
    return found, problems
