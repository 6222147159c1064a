"""Running what is compared, in turns, and looking at what it costs: wall time, CPU time, memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"
EVALDOCK = ROOT / ".venv" / "bin" / "evaldock"
PYTHON = ROOT / ".venv" / "bin" / "python"

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY = 0.01  # seconds between looks at a process's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run: seconds, bytes at the peak, and whatever else was counted (`more`)."""

    wall: float
    cpu: float
    peak: int = 0
    said: str = ""
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of one contestant."""

    name: str
    samples: Sequence[Sample]

    @property
    def wall(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(sample.cpu for sample in self.samples)

    @property
    def peak(self) -> int:
        return max(sample.peak for sample in self.samples)

    @property
    def span(self) -> tuple[float, float]:
        walls = [sample.wall for sample in self.samples]
        return min(walls), max(walls)

    def more(self, name: str) -> float:
        return statistics.median(sample.more[name] for sample in self.samples)

    def most(self, name: str) -> float:
        """A promise about a count must hold in every run."""
        return max(sample.more[name] for sample in self.samples)


Contest = Mapping[str, Callable[[], Sample]]


def alternate(contestants: Contest, *, rounds: int) -> dict[str, Measured]:
    """A B A B …, so that a machine that is busy for a while is so for all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            samples[name].append(run())
    return {name: Measured(name, found) for name, found in samples.items()}


def command(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    beside: Sequence[int] = (),
    exit_codes: Sequence[int] = (0,),
) -> Sample:
    """Runs a command to its end. `environment` is added to a small one; the CPU time of the servers `beside`
    (process ids) counts too. Raises RuntimeError for another exit code."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        before = sum(map(_cpu_of_tree, beside))
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=folder,
            env=small_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        with _Watch(process.pid) as watch:
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        after = sum(map(_cpu_of_tree, beside))
        output.seek(0)
        errors.seek(0)
        said, complained = output.read().decode(errors="replace"), errors.read().decode(errors="replace")
    if process.returncode not in exit_codes:
        shown = " ".join(map(str, arguments))
        raise RuntimeError(f"{shown}\nended with {process.returncode}\n{said[-1000:]}\n{complained[-3000:]}")
    return Sample(wall=wall, cpu=usage.ru_utime + usage.ru_stime + after - before, peak=watch.peak, said=said)


def small_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """No settings of the user's own; telemetry of what is measured stays off."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(home()),
        "NO_COLOR": "1",
        "NEMO_EVALUATOR_TELEMETRY_LEVEL": "0",
        **(more or {}),
    }


def home() -> Path:
    folder = BUILD / "home"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Watch:
    """The most memory that a process and its children had resident at one time, in bytes.

    Read from /proc, since what the system reports at the end counts whoever started the process, too.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.peak = 0

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        before = {self._pid}
        while True:
            # A child that was only just forked still has its parent's memory.
            now = set(_tree(self._pid))
            self.peak = max(self.peak, sum(_high_water(pid) for pid in now & before))
            before = now | {self._pid}
            if self._ended.wait(_LOOK_EVERY):
                return


def _tree(pid: int) -> Iterable[int]:
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        for task in _listed(Path(f"/proc/{one}/task")):
            waiting += map(int, _read(task / "children").split())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _high_water(pid: int) -> int:
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_of_tree(pid: int) -> float:
    return sum(_cpu(one) for one in _tree(pid))


def _cpu(pid: int) -> float:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS  # utime, stime and those of children that have ended


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it has ended meanwhile
