"""`quickcheck run` and `quickcheck merge`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quickcheck import report
from quickcheck.checkpoint import FINGERPRINT, LINES, Checkpoint, FingerprintMismatch, read_lines
from quickcheck.items import TASKS, Item, data_digest
from quickcheck.runner import Settings, run
from quickcheck.workflow import LocalWorkflow, RemoteWorkflow, Workflow


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit code 0: every item was asked, whatever it scored. 1: no item got a reply. 2: usage."""
    parser = argparse.ArgumentParser(prog="quickcheck", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="check an endpoint or a function"))
    merging = commands.add_parser("merge", help="join the checkpoints of shards into one result")
    merging.add_argument("shards", nargs="+", type=Path, help="output directories of the shards")
    merging.add_argument("--output-dir", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        sys.exit(merge(options) if options.command == "merge" else check(options))
    except FingerprintMismatch as problem:
        parser.error(str(problem))


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True, choices=sorted(TASKS))
    parser.add_argument("--url", help="the endpoint's whole address")
    parser.add_argument("--workflow", metavar="MODULE:FUNCTION", help="a function of this process instead")
    parser.add_argument("--model", default="")
    parser.add_argument("--api-key-name", help="the variable that holds the key")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--parallelism", type=_positive, default=8)
    parser.add_argument("--retries", type=int, default=5)
    parser.add_argument("--backoff", type=float, default=0.5, help="seconds before the second try")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one request")
    parser.add_argument("--limit", type=float, help="items to ask: a number, or below 1 a part of them")
    parser.add_argument("--n-samples", type=_positive, default=1, help="how often each item is asked")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N", help="only this part, from 1")
    parser.add_argument("--keep", help="fields of an item's record to write, joined by commas")
    parser.add_argument("--no-output", action="store_true", help="write no checkpoint")


def check(options: argparse.Namespace) -> int:
    task = TASKS[options.task]
    chosen = _limited(task.items(), options.limit)
    index, count = options.shard
    params = {
        name: value
        for name, value in (
            ("temperature", options.temperature),
            ("top_p", options.top_p),
            ("max_tokens", options.max_tokens),
        )
        if value is not None and task.endpoint != "embedding"
    }
    fingerprint = {
        "task": task.name,
        "model": options.model,
        "params": params,
        "n_samples": options.n_samples,
        "data": data_digest(chosen),
        "items": len(chosen) * options.n_samples,
        "shards": count,
    }
    # What the report needs stays, whatever the filter says: a resumed item would else count as failed.
    keep = {*options.keep.split(","), *report.NEEDS}.__contains__ if options.keep else None
    checkpoint = Checkpoint(
        options.output_dir, {**fingerprint, "shard": index + 1}, keep=keep, enabled=not options.no_output
    )
    part = chosen[index::count]
    parallelism = max(len(part), 1) if task.together else options.parallelism
    settings = Settings(parallelism, options.retries, options.backoff, repeats=options.n_samples)
    records = asyncio.run(run(part, _workflow(options, params, parallelism), checkpoint, settings))
    checkpoint.write_final(records)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    report.write(options.output_dir, report.results(task.name, records, fingerprint))
    return _summary(records)


def merge(options: argparse.Namespace) -> int:
    """Joins shards of the same evaluation; refuses other ones, missing ones and doubles."""
    stated = [json.loads((shard / FINGERPRINT).read_bytes())["parts"] for shard in options.shards]
    common = {k: v for k, v in stated[0].items() if k != "shard"}
    if any({k: v for k, v in parts.items() if k != "shard"} != common for parts in stated):
        raise FingerprintMismatch("the shards come from different evaluations")
    found = sorted(parts["shard"] for parts in stated)
    if found != list(range(1, common["shards"] + 1)):
        raise FingerprintMismatch(f"expected the shards 1 to {common['shards']}, got {found}")
    records: dict[str, dict[str, Any]] = {}
    for shard in options.shards:
        records |= read_lines(shard / LINES)
    ordered = [records[name] for name in sorted(records, key=_data_order)]
    options.output_dir.mkdir(parents=True, exist_ok=True)
    whole = Checkpoint(options.output_dir, {**common, "shards": 1, "shard": 1})
    whole.write_final(ordered)
    report.write(options.output_dir, report.results(common["task"], ordered, {**common, "shards": 1}))
    return _summary(ordered)


def _workflow(options: argparse.Namespace, params: dict[str, Any], connections: int) -> Workflow:
    if options.workflow:
        return LocalWorkflow(options.workflow)
    if not options.url:
        raise SystemExit("quickcheck: give --url or --workflow")
    key = os.environ.get(options.api_key_name) if options.api_key_name else None
    return RemoteWorkflow(
        options.url, options.model, key=key, timeout=options.timeout, params=params, connections=connections
    )


def _data_order(name: str) -> tuple[str, int]:
    item, _, turn = name.partition("#")
    return item, int(turn or 0)


def _limited(items: list[Item], limit: float | None) -> list[Item]:
    if limit is None:
        return items
    return items[: max(1, round(limit * len(items)) if limit < 1 else int(limit))]


def _summary(records: Sequence[dict[str, Any]]) -> int:
    failed = [r for r in records if r.get("error")]
    passed = sum(1 for r in records if not r.get("error") and r.get("score") == 1.0)
    print(f"{passed} of {len(records)} items passed, {len(failed)} without a reply")
    for record in failed[:3]:
        print(f"  {record['id']}: {record['error']}")
    return 1 if records and len(failed) == len(records) else 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError("expected I/N with I from 1 to N")
    return int(index) - 1, int(count)


if __name__ == "__main__":
    main()
