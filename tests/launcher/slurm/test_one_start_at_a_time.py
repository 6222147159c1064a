"""What keeps two starts of a job out of one folder: the text for sbatch, run by shells without any Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launched import RESULTS, Place, changed, send, until
from launcher.backends import slurm_script
from launcher.jobs import RunPlan, SecretName

# The first start saves and ends when it is asked to; the others come to their end by themselves.
COMMAND = (
    'note() { echo "$EVALDOCK_START $KEY $1" >>{out}/events; }; '
    "trap 'note saved; exit' TERM; note begins; "
    "while [ $(grep -c begins {out}/events) -lt 2 ]; do sleep 0.1; done; "
)
UNTIL_ASKED = "while [ ! -e {out}/go ]; do sleep 0.1; done; "


@dataclass(frozen=True, slots=True)
class Starts:
    """One job, its folder, and the starts that Slurm would make of it."""

    run: RunPlan
    shell: list[str]
    made: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(self.run.folder(self.run.jobs[0]))

    def submit(self, attempt: int = 1) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        (job,) = self.run.jobs
        made = slurm_script.job_files(self.run, job, attempt, {"K": f"key-{attempt}"})
        made["slurm.sub"] = (slurm_script.submission(self.run, [job], attempt).encode(), 0o644)
        for name, (content, mode) in made.items():
            path = self.folder / name
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(mode)

    def start(self, job: int = 7, restarts: int = 0) -> subprocess.Popen[bytes]:
        """As on a node of its own."""
        number = len(self.made)
        given = {"SLURM_JOB_ID": job, "SLURM_SUBMIT_DIR": self.folder, "SLURMD_NODENAME": f"n{number}"}
        if restarts:
            given["SLURM_RESTART_COUNT"] = restarts
        # Slurm, too, keeps a text of its own.
        text = self.folder.parent / f"{number}.sub"
        text.write_bytes((self.folder / "slurm.sub").read_bytes())
        with (self.folder / "logs" / "slurm.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.shell, str(text)],
                env={**os.environ, **{name: str(value) for name, value in given.items()}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.made.append(process)
        return process

    def events(self) -> list[str]:
        """What the job noted in which start: `attempt:job:restarts what`."""
        path = self.folder / "artifacts" / "events"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [f"{spelled(int(start))} {key} {what}" for start, key, what in lines]

    def begun(self, number: int) -> None:
        until(lambda: len(self.events()) >= number, f"{number} events")

    def exit(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / "exit.json").read_bytes())
        return read

    def processes(self, word: bytes = b"") -> list[int]:
        """All that work in the folder and have this in their command line."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                here = (entry / "cwd").readlink().is_relative_to(self.folder)
                if here and word in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def check_left(self) -> None:
        """Nothing runs and nobody gives a sign of life any more."""
        until(lambda: not self.processes(), "all processes are gone", patience=20)
        assert not list(self.folder.glob(".alive.*"))
        assert (self.folder / "logs" / "slurm.log").read_text() == ""


def spelled(start: int) -> str:
    return f"{start // 10**15}:{start // 10**5 % 10**10}:{start % 10**5}"


Made = Callable[..., Starts]


@pytest.fixture
def starts(shell: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    monkeypatch.setattr(slurm_script, "BEAT", 0.2)
    monkeypatch.setattr(slurm_script, "PATIENCE", 600)
    made = []

    def make(command: str = COMMAND, **settings: Any) -> Starts:
        run = Place("slurm").run(tmp_path, command + RESULTS, settings=settings)
        made.append(Starts(changed(run, secrets=(SecretName(name="KEY", source="K"),)), shell))
        made[-1].submit()
        return made[-1]

    yield make
    for each in made:
        for process in each.made:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
                process.terminate()
            process.wait(timeout=30)


def test_a_job_leaves_no_watcher_and_no_sign_of_life(starts: Made) -> None:
    one = starts(": ; ")
    assert one.start().wait(timeout=60) == 0
    one.check_left()
    number, state, _ = (one.folder / ".start").read_text().split()
    assert (spelled(int(number)), state) == ("1:7:0", "runs")


def test_a_start_ends_where_its_scheduler_has_it_ignore_a_hangup(starts: Made) -> None:
    one = starts(": ; ")
    one.shell.insert(0, "nohup")
    assert one.start().wait(timeout=60) == 0
    one.check_left()


@pytest.mark.parametrize("asked", [signal.SIGUSR2, signal.SIGTERM], ids=["cancelled", "ended-by-slurm"])
def test_a_job_that_is_asked_to_end_leaves_none_either(starts: Made, asked: signal.Signals) -> None:
    one = starts(auto_resume=False)
    first = one.start()
    one.begun(1)
    # Slurm's own signals go to every process of the script.
    os.killpg(first.pid, asked) if asked is signal.SIGTERM else first.send_signal(asked)
    assert first.wait(timeout=60) == 143
    one.check_left()


def test_a_watcher_ends_with_its_script(starts: Made) -> None:
    one = starts()
    first = one.start()
    one.begun(1)
    first.kill()
    first.wait()
    # Which the watcher doesn't heed.
    os.killpg(first.pid, signal.SIGTERM)
    until(lambda: not one.processes(), "all processes are gone", patience=20)


def test_an_older_start_ends_before_the_newer_one_begins(starts: Made) -> None:
    one = starts()
    first = one.start()
    one.begun(1)
    assert one.start(restarts=1).wait(timeout=60) == 0
    assert first.wait(timeout=60) == 143
    assert one.events() == ["1:7:0 key-1 begins", "1:7:0 key-1 saved", "1:7:1 key-1 begins"]
    assert one.exit()["exit_code"] == 0
    said = (one.folder / "logs" / "job.log").read_text()
    assert "evaldock: an earlier start on n0 has ended\nevaldock: started again by Slurm" in said
    assert not list(one.folder.glob(".secrets*"))
    one.check_left()


def test_a_later_attempt_ends_an_older_one_and_keeps_its_secrets(starts: Made) -> None:
    one = starts()
    first = one.start()
    one.begun(1)
    one.submit(attempt=2)
    # It learns of it before the new one has started, and takes nothing along.
    assert first.wait(timeout=60) == 143
    assert one.start(job=9).wait(timeout=60) == 0
    assert one.events() == ["1:7:0 key-1 begins", "1:7:0 key-1 saved", "2:9:0 key-2 begins"]
    assert (one.exit()["exit_code"], one.exit()["attempt"]) == (0, 2)
    one.check_left()


def test_an_older_start_that_stood_still_ends_without_a_trace(starts: Made) -> None:
    one = starts(COMMAND + UNTIL_ASKED)
    first = one.start()
    one.begun(1)
    still = send(one.processes(), signal.SIGSTOP)
    second = one.start(restarts=1)
    one.begun(2)
    kept = sorted(path.name for path in one.folder.glob(".secrets*"))
    # Its job last: what that does at once when it wakes, nobody can prevent.
    send(sorted(still, key=lambda pid: os.getsid(pid) != first.pid), signal.SIGCONT)
    assert first.wait(timeout=60) == 143
    until(lambda: not set(still) & set(one.processes()), "nothing of it runs")
    assert sorted(path.name for path in one.folder.glob(".secrets*")) == kept == [".secrets.slurm"]
    assert not (one.folder / "exit.json").exists()
    assert second.poll() is None
    (one.folder / "artifacts" / "go").touch()
    assert second.wait(timeout=60) == 0
    assert one.events() == ["1:7:0 key-1 begins", "1:7:1 key-1 begins"]
    one.check_left()


def test_an_older_start_that_does_not_end_is_left_alone(
    starts: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_script, "PATIENCE", 5)
    one = starts()
    first = one.start()
    one.begun(1)
    nodes = one.processes(b"node.sh")
    assert send(nodes, signal.SIGSTOP)
    assert one.start(restarts=1).wait(timeout=60) == 70
    said = "an earlier start of it still runs on the node n0, and does not end"
    assert (one.exit()["exit_code"], one.exit()["reason"]) == (70, said)
    assert one.events() == ["1:7:0 key-1 begins"]
    send(nodes, signal.SIGCONT)
    assert first.wait(timeout=60) == 143
    one.check_left()


def test_a_start_that_comes_too_late_does_nothing(starts: Made) -> None:
    one = starts(COMMAND + UNTIL_ASKED)
    (one.folder / "artifacts").mkdir()
    (one.folder / "artifacts" / "events").write_text("1000000000600000 - begins\n")
    second = one.start(restarts=1)
    one.begun(2)
    before = {path: path.stat().st_mtime_ns for path in one.folder.rglob("*") if "alive" not in path.name}
    assert one.start().wait(timeout=60) == 143
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before
    (one.folder / "artifacts" / "go").touch()
    assert second.wait(timeout=60) == 0
    one.check_left()
