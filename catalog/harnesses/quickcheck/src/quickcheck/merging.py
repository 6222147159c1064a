"""`quickcheck merge`: the checkpoints of all shards into the result that the whole would have had."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quickcheck import report
from quickcheck.checking import summary
from quickcheck.checkpoint import FINGERPRINT, LINES, Checkpoint, FingerprintMismatch, read_lines
from quickcheck.errors import UsageError

_OWN = ("shard", "items")  # what differs from shard to shard


def merge(shards: Sequence[Path], output: Path) -> int:
    """The exit code. Refuses shards of different evaluations, missing ones, doubles and unfinished ones."""
    stated = [_parts(shard) for shard in shards]
    common = _common(stated[0])
    if any(_common(parts) != common for parts in stated):
        raise FingerprintMismatch("the shards come from different evaluations")
    found = sorted(parts["shard"] for parts in stated)
    if found != list(range(1, common["shards"] + 1)):
        raise FingerprintMismatch(f"expected the shards 1 to {common['shards']}, got {found}")
    records: dict[str, dict[str, Any]] = {}
    for shard, parts in zip(shards, stated, strict=True):
        lines = read_lines(shard / LINES)
        if len(lines) < parts["items"]:
            raise UsageError(f"{shard} is not finished: {len(lines)} of {parts['items']} items")
        records |= lines
    ordered = [records[name] for name in sorted(records, key=_data_order)]
    whole = {**common, "shards": 1, "shard": 1, "items": common["all_items"]}
    Checkpoint(output, whole).write_final(ordered)
    report.write(output, report.results(common["task"], ordered, whole))
    return summary(ordered)


def _parts(shard: Path) -> dict[str, Any]:
    path = shard / FINGERPRINT
    try:
        parts = json.loads(path.read_bytes())["parts"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UsageError(f"{shard} holds no checkpoint: {problem}") from problem
    if not isinstance(parts, dict) or not {"task", "shards", "all_items", *_OWN} <= parts.keys():
        raise UsageError(f"{path} is not of a run that can be merged")
    return parts


def _common(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if name not in _OWN}


def _data_order(name: str) -> tuple[str, int]:
    item, _, turn = name.partition("#")
    return item, int(turn or 0)
