"""Measures what evaldock promises, in one run with what one could have picked instead.

    make bench
    .venv/bin/python tests/benchmarks/run.py [--dry] [extraction cli site launcher ray slurm]

Prints the tables and writes them into docs/reference/benchmarks.md, each group between its own markers
(not with --dry). What a group generates stays in build/bench.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
GROUPS = ("extraction", "cli", "site", "launcher", "ray", "slurm")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # argparse holds the empty default against the choices, too.
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    # Not this folder: its modules are those of the package `benchmarks`.
    sys.path[:1] = [str(ROOT), str(ROOT / "tests")]
    reporting = importlib.import_module("benchmarks.reporting")
    absent = (
        importlib.import_module("benchmarks.peers").Missing,
        importlib.import_module("services.required").Unavailable,
    )
    missed = 0
    for name in options.groups or GROUPS:
        began = time.monotonic()
        try:
            report = importlib.import_module(f"benchmarks.bench_{name}").run()
        except absent as reason:
            print(f"\n{name} was not measured: {reason}", flush=True)
            continue
        text = reporting.markdown(report)
        print(f"\n## {report.title}\n\n{text}\n\n({name}: {time.monotonic() - began:.0f} s)", flush=True)
        if not options.dry:
            reporting.write(name, text)
        missed += sum(not target.met for target in report.targets)
    if not options.dry:
        reporting.write("machine", reporting.machine())
    print(f"\n{missed} target{'' if missed == 1 else 's'} missed" if missed else "\nevery target met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
