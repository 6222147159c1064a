"""Runs one job without a container: `python -m launcher.backends.process_runner JOB_FOLDER`.

A process of its own session, so that it outlives the launcher that started it. It holds the job's lock as
long as it lives (a second runner of the same job leaves at once), installs the harness's packages, starts the
model server where one is asked for, runs the job's script in a process group of its own, and sees to it that
exit.json stands whatever happens to the script.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from catalog.errors import EvaldockError
from launcher import run_directory as files
from launcher.backends import environments

PLAN = "process.plan.json"
STATE = "process.json"
LOCK = ".lock"
GRACE = 10.0


class Stopped(BaseException):
    """SIGTERM arrived."""


def main() -> None:
    job = Path(sys.argv[1]).resolve()
    lock = os.open(job / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    plan = files.read_json(job / PLAN) or {}
    files.write_json(job / STATE, {**identity(os.getpid()), "attempt": plan["attempt"]})
    signal.signal(signal.SIGTERM, _stop)
    _Runner(job, plan).run()


def identity(pid: int) -> dict[str, Any]:
    """A process, told from a later one with the same number: when it started, in which boot."""
    return {"pid": pid, "start": start_time(pid), "boot": _boot_id()}


def start_time(pid: int) -> int | None:
    """Clock ticks after the boot (proc(5), field 22 of stat); None when there is no such process, or it has
    ended and only waits to be collected."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in parentheses, which may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


class _Runner:
    def __init__(self, job: Path, plan: Mapping[str, Any]) -> None:
        self.job, self.plan = job, plan
        self.started = files.timestamp()
        self.server: subprocess.Popen[bytes] | None = None
        self.script: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        reason: str | None = None
        try:
            files.mark(self.job, "pre-start")
            environment = self._environment()
            self._serve(environment)
            code = self._run_script(environment)
            reason = None if code >= 0 else f"killed by {signal.Signals(-code).name}"
        except Stopped:
            code, reason = 143, "stopped on request"
        except EvaldockError as error:
            code, reason = 70, str(error)
            self._log(str(error))
        except Exception as error:  # noqa: BLE001 # whatever it is, the job must not look as if it ran on
            code, reason = 70, f"{type(error).__name__}: {error}"
            self._log(reason)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end(self.script)
        _end(self.server)
        (self.job / files.SECRETS).unlink(missing_ok=True)
        self._leave_exit(code if code >= 0 else 128 - code, reason)

    def _environment(self) -> dict[str, str]:
        """Only what the job was given, and what any program needs to start."""
        packages, root = self.plan["packages"], Path(self.plan["root"])
        bin_folder = ""
        if packages:
            venv = environments.ensure(packages, root, self._log)
            files.write_json(self.job / "packages.json", environments.installed(venv))
            bin_folder = f"{venv / 'bin'}:"
        home = self.job / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": f"{bin_folder}/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **{name: os.environ[name] for name in self.plan["runtime"] if name in os.environ},
        }

    def _serve(self, environment: dict[str, str]) -> None:
        deployment = self.plan["deployment"]
        if deployment is None:
            return
        command = [word.replace("{port}", str(deployment["port"])) for word in deployment["command"]]
        secrets = self.job / files.SECRETS
        prefix = f"[ -f {shlex.quote(str(secrets))} ] && . {shlex.quote(str(secrets))}; "
        log = self.job / files.DEPLOYMENT_LOG
        self._log(f"starting the {deployment['type']} deployment")
        with log.open("ab") as output:
            self.server = subprocess.Popen(
                ["/bin/sh", "-c", f"{prefix}exec {shlex.join(command)}"],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**environment, **deployment["env"]},
                cwd=self.job,
                start_new_session=True,
            )
        self._wait_until_healthy(deployment, log)

    def _wait_until_healthy(self, deployment: Mapping[str, Any], log: Path) -> None:
        url = f"http://127.0.0.1:{deployment['port']}{deployment['health_path']}"
        deadline = time.monotonic() + deployment["deadline"]
        while time.monotonic() < deadline:
            self._check_server(log)
            if _healthy(url):
                self._log(f"the deployment answers at {url}")
                return
            time.sleep(0.2)
        raise EvaldockError(
            f"the deployment did not answer at {url} within {deployment['deadline']:g} seconds{_tail(log)}"
        )

    def _check_server(self, log: Path) -> None:
        if self.server is not None and self.server.poll() is not None:
            raise EvaldockError(f"the deployment ended with exit code {self.server.returncode}{_tail(log)}")

    def _run_script(self, environment: dict[str, str]) -> int:
        self.script = subprocess.Popen(
            ["/bin/sh", str(self.job / files.SCRIPT)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=self.job,
            start_new_session=True,
        )
        while True:
            try:
                return self.script.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                self._check_server(self.job / files.DEPLOYMENT_LOG)

    def _leave_exit(self, code: int, reason: str | None) -> None:
        own = files.read_exit(self.job)
        if own is None or (reason is not None and own.reason is None and code not in (0, own.exit_code)):
            ended = {"started": self.started, "ended": files.timestamp(), "attempt": self.plan["attempt"]}
            files.write_json(self.job / files.EXIT, {"exit_code": code, "reason": reason, **ended})
        if not (self.job / "stage.exit").exists():
            files.mark(self.job, "exit", exit_code=code)

    def _log(self, line: str) -> None:
        with (self.job / files.JOB_LOG).open("a") as file:
            file.write(f"evaldock: {line}\n")


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 # an http URL of our own making
            return bool(200 <= answer.status < 300)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _tail(log: Path, lines: int = 20) -> str:
    data = files.read_log(log, 0)[0].decode("utf-8", "replace")
    last = "\n".join(data.splitlines()[-lines:])
    return f"; its last lines:\n{last}" if last else "; it printed nothing"


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """Ends a process with everything it started: TERM to its group, KILL after the grace."""
    if process is None:
        return
    deadline = time.monotonic() + GRACE
    number = signal.SIGTERM
    while _signal_group(process.pid, number):
        process.poll()
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(0.05)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> bool:
    """False when nothing of the group is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
