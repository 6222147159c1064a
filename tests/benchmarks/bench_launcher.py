"""quickcheck's throughput and its checkpoints; planning, recording and listing runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import (
    BUILD,
    EVALDOCK,
    PYTHON,
    ROOT,
    Sample,
    alternate,
    command,
    small_environment,
)
from benchmarks.peers import NEL, NEL_PYTHON, NEL_SCRIPT, Missing, need_nel, real_catalog
from benchmarks.reporting import Report, Table, compared
from catalog import store

OWN_SCRIPT = Path(__file__).with_name("own_script.py")
BARE = Path(__file__).with_name("bare_client.py")
QUICKCHECK = ROOT / "catalog" / "harnesses" / "quickcheck" / "src"

LATENCY = 0.1  # seconds before each answer
AT_ONCE = 32
REQUESTS = 3_000
TURNS = 4
COMPARED_JOBS = 200
JOBS = 1_000
RUNS = 10_000
# Names of harnesses whose tasks need no variables that aren't set here.
HARNESSES = ("simple_evals", "nemo_skills", "codec", "ruler", "mmath", "ifbench")


def run() -> Report:
    report = Report("Launcher")
    _throughput(report)
    try:
        need_nel()
    except Missing as missing:
        report.left_out.append(f"planning and listing runs: {missing}")
        return report
    with tempfile.TemporaryDirectory(prefix="evaldock-bench-") as name:
        folder = Path(name)
        report.tables += [_planning(folder), _listing(folder)]
    return report


# quickcheck


def _throughput(report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="evaldock-bench-") as name, _standin(Path(name)) as base:
        url = f"{base}/chat/completions"
        measured = alternate(
            {
                "bare aiohttp client": lambda: _python(BARE, url, REQUESTS, AT_ONCE),
                "quickcheck": lambda: _quickcheck(url, Path(name) / "out"),
                "quickcheck --no-output": lambda: _quickcheck(url, Path(name) / "out", "--no-output"),
            },
            rounds=TURNS,
        )
    bare, with_output, without = measured.values()
    rate = bare.wall / with_output.wall
    report.target(
        f"quickcheck's rate, {LATENCY * 1000:.0f} ms before each answer, {AT_ONCE} at a time",
        "90 % of a bare client's",
        f"{rate:.1%}",
        rate >= 0.9,
    )
    cost = with_output.wall / without.wall - 1
    report.target("what checkpoints cost quickcheck's throughput", "5 % at most", f"{cost:.1%}", cost <= 0.05)
    best = REQUESTS * LATENCY / AT_ONCE
    report.tables.append(
        compared(
            f"{REQUESTS:,} chat requests, {AT_ONCE} at a time, {LATENCY * 1000:.0f} ms before each answer",
            list(measured.values()),
            counts=("requests/s", "CPU ms a request"),
            note=f"Whole commands, their start included; the server's delay alone takes {best:.1f} s.",
        )
    )


def _quickcheck(url: str, out: Path, *more: str) -> Sample:
    shutil.rmtree(out, ignore_errors=True)
    given = ["run", "--task", "chat", "--url", url, "--model", "m", "--output-dir", str(out)]
    repeats = REQUESTS // 20  # the task has 20 items
    given += ["--parallelism", str(AT_ONCE), "--n-samples", str(repeats), *more]
    sample = _python("-m", "quickcheck.cli", *given)
    if f"{REQUESTS} of {REQUESTS} items passed" not in sample.said:
        raise RuntimeError(f"quickcheck did not get every reply: {sample.said}")
    return sample


def _python(*arguments: object) -> Sample:
    sample = command([PYTHON, *map(str, arguments)], environment={"PYTHONPATH": str(QUICKCHECK)})
    more = {"requests/s": round(REQUESTS / sample.wall), "CPU ms a request": sample.cpu / REQUESTS * 1000}
    return Sample(wall=sample.wall, cpu=sample.cpu, peak=sample.peak, said=sample.said, more=more)


@contextmanager
def _standin(folder: Path) -> Iterator[str]:
    """The base URL of a stand-in model server in a process of its own."""
    file = folder / "url"
    called = [EVALDOCK, "standin", "--port", "0", "--latency", str(LATENCY), "--url-file", file]
    server = subprocess.Popen(list(map(str, called)), env=small_environment(), stdout=subprocess.DEVNULL)
    try:
        while not file.exists():
            if server.poll() is not None:
                raise RuntimeError("the stand-in server ended")
            time.sleep(0.02)
        yield file.read_text()
    finally:
        server.kill()
        server.wait()


# Runs


def _planning(folder: Path) -> Table:
    for count in (COMPARED_JOBS, JOBS):
        _configure(folder, f"jobs-{count}", count)
    fewer = alternate(
        {
            f"evaldock, {COMPARED_JOBS} jobs": lambda: _evaldock(folder, "plan", f"jobs-{COMPARED_JOBS}"),
            f"nemo-evaluator-launcher, {COMPARED_JOBS} jobs": lambda: _nel(
                folder, "plan", folder / f"jobs-{COMPARED_JOBS}.json"
            ),
        },
        rounds=2,
    )
    many = alternate(
        {f"evaldock, {JOBS:,} jobs": lambda: _evaldock(folder, "plan", f"jobs-{JOBS}")}, rounds=3
    )
    return compared(
        "Planning a run and recording it, before anything starts",
        [*fewer.values(), *many.values()],
        counts=("seconds without imports",),
        note=(
            "nemo-evaluator-launcher also writes each job's script at this point, evaldock when it submits "
            "a job. That tool records the whole configuration with each job, so that its time grows with the "
            f"square of their number: {JOBS:,} jobs took it minutes, too long for this table."
        ),
    )


def _listing(folder: Path) -> Table:
    _configure(folder, "one", 1)
    _evaldock(folder, "fill", str(RUNS), "one")
    _nel(folder, "fill", RUNS, folder / "one.json")
    listed = alternate(
        {
            "evaldock ls runs": lambda: command(
                [EVALDOCK, "ls", "runs"], environment=_evaldock_state(folder)
            ),
            "nemo-evaluator-launcher ls runs": lambda: command(
                [NEL, "ls", "runs"], environment=_nel_state(folder)
            ),
            "evaldock ls runs --limit 20": lambda: command(
                [EVALDOCK, "ls", "runs", "--limit", "20"], environment=_evaldock_state(folder)
            ),
        },
        rounds=3,
    )
    for one in list(listed.values())[:2]:
        if one.samples[0].said.count("\n") < RUNS:
            raise RuntimeError(f"{one.name} listed less than {RUNS} runs")
    return compared(f"`ls runs`, {RUNS:,} runs of one job", list(listed.values()))


def _configure(folder: Path, name: str, jobs: int) -> None:
    """Both tools read the same configuration; JSON is YAML too."""
    catalog = store.load(real_catalog())
    known = [
        f"{harness.name}.{task.name}"
        for harness in catalog.harnesses
        if harness.name in HARNESSES
        for task in harness.tasks
        if "chat" in task.endpoint_types and "." not in task.name
    ]
    endpoint = {"url": "http://127.0.0.1:8000/v1/chat/completions", "model_id": "m", "api_key_name": None}
    configuration: dict[str, Any] = {
        "execution": {"type": "local", "output_dir": str(folder / "runs"), "mode": "sequential"},
        "deployment": {"type": "none"},
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": [_task(known, number) for number in range(jobs)]},
    }
    for suffix in ("json", "yaml"):
        (folder / f"{name}.{suffix}").write_text(json.dumps(configuration))


def _task(known: Sequence[str], number: int) -> Mapping[str, Any]:
    turn, at = divmod(number, len(known))
    params = {"temperature": round(turn / 10, 1)}  # the same task again needs other parameters
    return {"name": known[at], "nemo_evaluator_config": {"config": {"params": params}}}


def _evaldock(folder: Path, what: str, *given: str) -> Sample:
    arguments: list[str | Path] = [PYTHON, OWN_SCRIPT, what, *given, folder, real_catalog()]
    return _with_inner(command(arguments, environment=_evaldock_state(folder)))


def _nel(folder: Path, what: str, *given: object) -> Sample:
    return _with_inner(
        command([NEL_PYTHON, NEL_SCRIPT, what, *map(str, given)], environment=_nel_state(folder))
    )


def _with_inner(sample: Sample) -> Sample:
    inner = json.loads(sample.said.splitlines()[-1])
    more = {"seconds without imports": inner["seconds"]} if "seconds" in inner else {}
    return Sample(wall=sample.wall, cpu=sample.cpu, peak=sample.peak, more=more)


def _evaldock_state(folder: Path) -> Mapping[str, str]:
    return {"EVALDOCK_STATE": str(folder / "state"), "EVALDOCK_CACHE": str(BUILD / "cache")}


def _nel_state(folder: Path) -> Mapping[str, str]:
    return {"HOME": str(folder)}
