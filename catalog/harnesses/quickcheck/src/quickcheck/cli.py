"""`quickcheck run` and `quickcheck merge`."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from quickcheck import checking, merging
from quickcheck.checkpoint import FingerprintMismatch
from quickcheck.errors import UsageError
from quickcheck.items import TASKS

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit code 0: every item was asked, whatever it scored. 1: no item got a reply, or results could not be
    written. 2: usage. 130 and 143: stopped by SIGINT or SIGTERM, with the results of what was finished."""
    parser = argparse.ArgumentParser(prog="quickcheck", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="check an endpoint or a function"))
    joining = commands.add_parser("merge", help="join the checkpoints of shards into one result")
    joining.add_argument("shards", nargs="+", type=Path, help="output directories of the shards")
    joining.add_argument("--output-dir", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a reply may hold what has no encoding
    try:
        if options.command == "merge":
            sys.exit(merging.merge(options.shards, options.output_dir))
        sys.exit(checking.check(options))
    except (FingerprintMismatch, UsageError) as problem:
        parser.error(str(problem))
    except OSError as problem:
        log.error("results could not be written: %s", problem)
        sys.exit(1)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True, choices=sorted(TASKS))
    parser.add_argument("--url", help="the endpoint's whole address")
    parser.add_argument("--workflow", metavar="MODULE:FUNCTION", help="a function of this process instead")
    parser.add_argument("--model", default="")
    parser.add_argument("--api-key-name", help="the variable that holds the key")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--parallelism", type=_number(int, least=1), default=8)
    parser.add_argument("--retries", type=_number(int), default=5)
    parser.add_argument("--backoff", type=_number(float), default=0.5, help="seconds before the second try")
    parser.add_argument("--timeout", type=_number(float), default=120.0, help="seconds for one request")
    parser.add_argument(
        "--limit", type=_number(float), help="items to ask: a number, or below 1 a part of them"
    )
    parser.add_argument("--n-samples", type=_number(int, least=1), default=1, help="how often each is asked")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N", help="only this part, from 1")
    parser.add_argument("--keep", help="fields of an item's record to write, joined by commas")
    parser.add_argument("--no-output", action="store_true", help="write no checkpoint")


def _number(kind: type[int] | type[float], least: int = 0) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number from {least} on")
        return value

    return number


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError("expected I/N with I from 1 to N")
    return int(index) - 1, int(count)


if __name__ == "__main__":
    main()
