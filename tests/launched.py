"""Runs of shell commands on real backends, without a catalog: what the launcher's tests have in common."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from launcher.backends.protocol import Backend, load
from launcher.jobs import Endpoint, JobHandle, JobPlan, JobStatus, RunPlan, State
from launcher.runs import run_id
from launcher.runs.database import Database, JobRow
from launcher.runs.judging import finished
from launcher.runs.supervisor import tick

Answer = TypeVar("Answer")
# The environment in which, and the handle by which, a job is asked for in vain.
Unheard = tuple[Mapping[str, str], JobHandle]
PATIENCE = 90.0
# What has to arrive as it is, and to be found nowhere else.
SECRET = "s3cr$t'\"`touch pwned` $(touch pwned) \\ é\nvalue"
# The smallest results that count, and a command that leaves them.
RESULTS_FILE = "results: {tasks: {t: {metrics: {m: {scores: {s: {value: 1.0, stats: {}}}}}}}}"
RESULTS = f"echo '{RESULTS_FILE}' >{{out}}/results.yml"


@dataclass(frozen=True, slots=True)
class Place:
    """A backend where jobs can run in a test: on this machine, but as if it were another one where `remote`
    says below which folder its jobs have theirs.

    `settings` are the backend's in a plan, `execution` those that a configuration of it needs. `contained`:
    jobs see their results as /results. `lost` takes a job away from under the backend, `killed` kills its
    script. By `cut` its service can't be reached, while `mute` it answers and says nothing. `native` is all
    that the service tells of a job, `busy` a time in which no job is started that asks for a CPU. `held` are
    names of files that only their owner can read and that hold secrets until the job has ended. `unset` is
    the exit code and what the reason begins with where a job's machine lacks a variable.
    """

    name: str
    image: str | None = None
    network: str | None = None
    lost: Callable[[JobHandle], None] = lambda _: None
    killed: Callable[[JobHandle], None] = lambda _: None
    cut: Callable[[JobHandle], Unheard] = lambda handle: ({}, handle)
    mute: Callable[[JobHandle], AbstractContextManager[Unheard]] = lambda handle: nullcontext(({}, handle))
    remote: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    contained: bool = False
    native: Callable[[JobHandle], str] = lambda _: ""
    busy: Callable[[], AbstractContextManager[None]] = nullcontext
    held: tuple[str, ...] = ()
    unset: tuple[int | None, str] = (70, "the variable {} is not set on this machine")

    @property
    def backend(self) -> Backend:
        return load(self.name)

    def run(self, folder: Path, *commands: str, identity: str | None = None, **settings: Any) -> RunPlan:
        """One job per command; `{out}` in it is the results folder as the job sees it."""
        identity = identity or run_id.new()
        directory = str(folder / identity)
        remote = f"{self.remote}/{identity}" if self.remote else None
        there = remote or directory
        jobs = tuple(self._job(identity, there, at, command) for at, command in enumerate(commands))
        fields = {"settings": self.settings, "remote": remote, **settings}
        return RunPlan(run_id=identity, backend=self.name, directory=directory, jobs=jobs, **fields)

    def _job(self, identity: str, directory: str, index: int, command: str) -> JobPlan:
        folder = f"jobs/{index:03d}-t{index}"
        out = "/results" if self.contained else f"{directory}/{folder}/artifacts"
        return JobPlan(
            key=f"{identity}-{index:03d}",
            run_id=identity,
            index=index,
            task=f"shell.t{index}",
            harness="shell",
            endpoint=Endpoint(model_id="m", url="http://127.0.0.1:9/v1", type="chat"),
            command=command.replace("{out}", out),
            config={"config": {"params": {}}, "target": {"api_endpoint": {}}},
            directory=folder,
            image=self.image,
            network=self.network,
        )

    def configuration(self, **more: Any) -> dict[str, Any]:
        """`execution` of a run configuration for this place."""
        network = {"network": self.network} if self.network else {}
        return {"type": self.name, **network, **self.execution, **more}

    def beside(self, **more: Any) -> dict[str, Any]:
        """`execution` of a run whose jobs reach the servers of this machine."""
        return self.configuration(**({"network": "host"} if self.contained else {}), **more)

    def submit(self, run: RunPlan, attempt: int = 1, secrets: Mapping[str, str] | None = None) -> JobHandle:
        """The run's first job; the handle is the one that a supervisor would ask with."""
        handle = self.backend.submit(run, run.jobs[0], attempt, secrets or {})
        return replace(handle, settings=run.settings)

    def collect(self, run: RunPlan, handle: JobHandle) -> Path:
        """To where a supervisor would bring it."""
        return self.backend.collect(handle, here(run))


def here(run: RunPlan) -> Path:
    """The first job's folder on the launching machine."""
    return Path(run.directory) / run.jobs[0].directory


def there(run: RunPlan, index: int = 0) -> Path:
    """A job's folder where it runs."""
    return Path(run.folder(run.jobs[index]))


def changed(run: RunPlan, **fields: Any) -> RunPlan:
    """The run with fields of its first job replaced."""
    return replace(run, jobs=(replace(run.jobs[0], **fields), *run.jobs[1:]))


def slow_package(folder: Path) -> tuple[Path, Path]:
    """A package that takes a minute to be built, and the file in which who builds it leaves its number."""
    started, package = folder / "started", folder / "slow"
    package.mkdir()
    program = (
        f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()) + '\\n')\ntime.sleep(60)\n"
    )
    (package / "setup.py").write_text(program)
    return package, started


def until(ask: Callable[[], Answer | None], what: str = "", *, patience: float = PATIENCE) -> Answer:
    """The first true answer."""
    deadline = time.monotonic() + patience
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} seconds: {what}")
        time.sleep(0.05)
    return answer


def status(place: Place, handle: JobHandle) -> JobStatus:
    return place.backend.status([handle])[handle.key]


def ended(place: Place, handle: JobHandle) -> JobStatus:
    """How the job ended, once it has."""

    def ask() -> JobStatus | None:
        answer = status(place, handle)
        return answer if answer.state.terminal else None

    return until(ask, f"{handle.key} ends")


def artifacts(handle: JobHandle) -> Path:
    return Path(handle.directory) / "artifacts"


def items(run: RunPlan) -> list[bytes]:
    """Lines of those that quickcheck, the run's first job, has finished."""
    path = there(run) / "artifacts" / "workflow_output.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def exit_of(handle: JobHandle) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((Path(handle.directory) / "exit.json").read_bytes())
    return read


def wait_for(path: Path) -> Path:
    until(path.exists, f"{path} appears")
    return path


def supervise(
    database: Database,
    run: RunPlan,
    environ: Mapping[str, str] | None = None,
    *,
    patience: float = PATIENCE,
) -> list[JobRow]:
    """Rounds until everything has ended."""
    environ = {"EVALDOCK_RETRY_PAUSE": "0.1", **(environ or {})}

    def ask() -> list[JobRow] | None:
        rows = tick(database, run.run_id, environ)
        return rows if finished(rows) else None

    return until(ask, "the run ends", patience=patience)


def states(rows: Sequence[JobRow]) -> list[State]:
    return [row.state for row in rows]


def python(code: str, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A process of its own, with this project importable."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def said(process: subprocess.Popen[str], timeout: float = PATIENCE) -> str:
    """What it printed; it must succeed."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


def send(pids: Iterable[int], number: signal.Signals) -> list[int]:
    """A signal to those that are still there; which they were."""
    there = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            there.append(pid)
    return there
