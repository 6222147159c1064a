"""`evaldock --help` and `evaldock ls tasks` against the same of NeMo Evaluator Launcher."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measuring import BUILD, EVALDOCK, Measured, Sample, alternate, command
from benchmarks.peers import NEL, NEL_PYTHON, need_nel, nel_with, real_catalog
from benchmarks.reporting import Report, Table, compared, times
from synthetic import make_catalog

ROUNDS = 7
LARGE = 10_000


def run() -> Report:
    need_nel()
    report = Report("Commands")
    helped = alternate(
        {
            "evaldock --help": lambda: command([EVALDOCK, "--help"]),
            "nemo-evaluator-launcher --help": lambda: command([NEL, "--help"]),
        },
        rounds=ROUNDS,
    )
    report.tables.append(compared("`--help`", list(helped.values())))
    _ratio(report, "`--help`", helped, 5)

    catalog = real_catalog()
    tasks = len(json.loads(command([EVALDOCK, "ls", "tasks", "--catalog", catalog, "--json"]).said))
    listed = alternate(
        {
            "evaldock ls tasks": lambda: _ls(catalog),
            "nemo-evaluator-launcher ls tasks": lambda: command([NEL, "ls", "tasks"]),
            "evaldock ls tasks, after a change": lambda: _first_ls(catalog),
        },
        rounds=ROUNDS,
    )
    report.tables.append(
        compared(f"`ls tasks`, the {tasks} tasks that the other tool comes with", list(listed.values()))
    )
    _ratio(report, f"`ls tasks` at {tasks}", listed, 8)

    report.tables.append(_large())
    return report


def _ratio(report: Report, what: str, measured: Mapping[str, Measured], wanted: int) -> None:
    ours, theirs, *_ = measured.values()
    ratio = theirs.wall / ours.wall
    report.target(what, f"{wanted} times as fast", f"{times(ratio)} times", ratio >= wanted)


def _ls(catalog: Path, environment: Mapping[str, str] | None = None) -> Sample:
    return command([EVALDOCK, "ls", "tasks", "--catalog", catalog], environment=environment)


def _first_ls(catalog: Path) -> Sample:
    """Nothing of the catalog is in the cache."""
    cache = BUILD / "empty-cache"
    shutil.rmtree(cache, ignore_errors=True)
    return _ls(catalog, {"EVALDOCK_CACHE": str(cache)})


def _large() -> Table:
    catalog = BUILD / f"catalog-{LARGE}"
    if not catalog.exists():
        make_catalog(catalog, harnesses=25, tasks=LARGE)
    package = nel_with(catalog, BUILD / f"nel-{LARGE}")
    called = "import sys; sys.argv[0] = 'nel'; from nemo_evaluator_launcher.cli.main import main; main()"
    listed = alternate(
        {
            "evaldock ls tasks": lambda: _ls(catalog),
            "nemo-evaluator-launcher ls tasks": lambda: command(
                [NEL_PYTHON, "-c", called, "ls", "tasks"], environment={"PYTHONPATH": str(package)}
            ),
            "evaldock ls tasks, after a change": lambda: _first_ls(catalog),
        },
        rounds=3,
    )
    return compared(f"`ls tasks`, {LARGE:,} synthetic tasks in 25 harnesses", list(listed.values()))
