"""`quickcheck run`: one task, or a shard of it, from its items to results.yml."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from quickcheck import report
from quickcheck.checkpoint import LINES, Checkpoint, read_lines
from quickcheck.errors import UsageError
from quickcheck.items import TASKS, Item, data_digest
from quickcheck.runner import Settings, repeated, run
from quickcheck.workflow import LocalWorkflow, RemoteWorkflow, Workflow


def check(options: argparse.Namespace) -> int:
    """The exit code. A process that was stopped by a signal ends in here."""
    task = TASKS[options.task]
    chosen = _limited(task.items(), options.limit)
    index, count = options.shard
    part = chosen[index::count]
    params = {} if task.endpoint == "embedding" else _params(options)
    parts = {
        "task": task.name,
        "model": options.model,
        "params": params,
        "n_samples": options.n_samples,
        "data": data_digest(chosen),
        "all_items": len(chosen) * options.n_samples,
        "shards": count,
        **({"workflow": options.workflow} if options.workflow else {}),
    }
    own = {"shard": index + 1, "items": len(part) * options.n_samples}
    # What the report needs stays, whatever the filter says: a resumed item would else count as failed.
    keep = {*options.keep.split(","), *report.NEEDS}.__contains__ if options.keep else None
    checkpoint = Checkpoint(options.output_dir, {**parts, **own}, keep=keep, enabled=not options.no_output)
    parallelism = max(len(part), 1) if task.together else options.parallelism
    settings = Settings(parallelism, options.retries, options.backoff, repeats=options.n_samples)
    workflow = _workflow(options, params, parallelism)
    return asyncio.run(_work(part, workflow, checkpoint, settings, {**parts, **own}))


async def _work(
    part: Sequence[Item],
    workflow: Workflow,
    checkpoint: Checkpoint,
    settings: Settings,
    parts: Mapping[str, Any],
) -> int:
    running = asyncio.ensure_future(run(part, workflow, checkpoint, settings))
    stopped = _cancel_on_signals(running)
    try:
        records = await running
    except asyncio.CancelledError:
        # What was finished stands in the checkpoint; without one there is nothing to report.
        lines = read_lines(checkpoint.directory / LINES) if checkpoint.enabled else {}
        records = [lines[name] for name, _ in repeated(part, settings.repeats) if name in lines]
    if not stopped:
        checkpoint.write_final(records)
        report.write(checkpoint.directory, report.results(parts["task"], records, parts))
        return summary(records)
    if records:
        report.write(checkpoint.directory, report.results(parts["task"], records, parts))
    print(f"stopped by {stopped[0].name}: {len(records)} of {parts['items']} items are finished")
    sys.stdout.flush()
    # The threads of a function that doesn't return must not keep the process.
    os._exit(128 + stopped[0])


def _cancel_on_signals(running: asyncio.Future[Any]) -> list[signal.Signals]:
    """Holds, later, the signal that came first; those that follow change nothing."""
    stopped: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if not stopped:
            stopped.append(number)
            running.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopped


def summary(records: Sequence[Mapping[str, Any]]) -> int:
    """Prints it, and gives the exit code."""
    failed = [r for r in records if r.get("error")]
    passed = sum(1 for r in records if not r.get("error") and r.get("score") == 1.0)
    print(f"{passed} of {len(records)} items passed, {len(failed)} without a reply")
    for record in failed[:3]:
        print(f"  {record['id']}: {record['error']}")
    return 1 if records and len(failed) == len(records) else 0


def _params(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
    }
    return {name: value for name, value in given.items() if value is not None}


def _workflow(options: argparse.Namespace, params: Mapping[str, Any], connections: int) -> Workflow:
    if options.workflow:
        try:
            return LocalWorkflow(options.workflow, threads=connections)
        except (ImportError, AttributeError, ValueError) as problem:
            raise UsageError(f"--workflow {options.workflow}: {problem}") from problem
    if not options.url:
        raise UsageError("give --url or --workflow")
    key = None
    if options.api_key_name:
        key = os.environ.get(options.api_key_name, "").strip()
        if not key:
            raise UsageError(f"--api-key-name: the variable {options.api_key_name} is not set")
    return RemoteWorkflow(
        options.url, options.model, key=key, timeout=options.timeout, params=params, connections=connections
    )


def _limited(items: list[Item], limit: float | None) -> list[Item]:
    if limit is None:
        return items
    return items[: max(1, round(limit * len(items)) if limit < 1 else int(limit))]
