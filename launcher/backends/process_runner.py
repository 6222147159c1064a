"""Runs one job without a container: `python -m launcher.backends.process_runner JOB_FOLDER DESCRIPTOR...`.

A process of its own session, so that it outlives the launcher that started it. It holds the job's lock as
long as it lives (a second runner of the same job leaves at once), installs the harness's packages, starts the
model server where one is asked for, runs the job's script in a process group of its own, and sees to it that
exit.json stands whatever happens to the script.
"""

from __future__ import annotations

import contextlib
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
from launcher.backends import environments, processes
from launcher.jobs import SecretName
from launcher.node.job_script import GRACE
from launcher.runs import run_directory as files
from launcher.secrets import of_this_machine

PLAN = "process.plan.json"
STATE = "process.json"
LOCK = ".lock"


class Stopped(BaseException):
    """SIGTERM arrived."""


def main() -> None:
    job, descriptors = Path(sys.argv[1]).resolve(), [int(number) for number in sys.argv[2:]]
    # The launcher waits for its child, which ends here; what goes on is nobody's child and leaves no zombie.
    if os.fork():
        os._exit(0)
    os.setsid()
    lock = os.open(job / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    plan = files.read_json(job / PLAN) or {}
    runner = _Runner(job, plan)
    signal.signal(signal.SIGTERM, runner.stop)
    files.write_json(job / STATE, {**processes.identity(os.getpid()), "attempt": plan["attempt"]})
    for descriptor in descriptors:
        os.close(descriptor)
    runner.run()


class _Runner:
    def __init__(self, job: Path, plan: Mapping[str, Any]) -> None:
        self.job, self.plan = job, plan
        self.mark = f"{plan['key']}/{plan['attempt']}"
        self.started = files.timestamp()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.stoppable = False
        self.asked = False

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if self.stoppable:
            self.stoppable = False
            raise Stopped

    def _let_stop(self) -> None:
        """From here on a stop interrupts, also one that was asked for before."""
        self.stoppable = True
        if self.asked:
            self.stoppable = False
            raise Stopped

    def run(self) -> None:
        try:
            code, reason = self._work()
        except Stopped:
            code, reason = 143, "stopped on request"
        for name, grace in (("script", GRACE + 2), ("server", GRACE), ("setup", 0)):
            processes.end(f"{self.mark}/{name}", self.running.get(name), grace=grace)
        files.forget_secrets(self.job)
        self._leave_exit(code, reason)

    def _work(self) -> tuple[int, str | None]:
        try:
            self._let_stop()
            files.mark(self.job, "pre-start")
            environment = self._environment()
            self._serve(environment)
            code = self._run_script(environment)
            answer = (code, None) if code >= 0 else (128 - code, f"killed by {signal.Signals(-code).name}")
        except EvaldockError as error:
            answer = 70, str(error)
        except Exception as error:  # noqa: BLE001 # whatever it is, the job must not look as if it ran on
            answer = 70, f"{type(error).__name__}: {error}"
        finally:
            self.stoppable = False
        if answer[1] is not None:
            self._log(answer[1])
        return answer

    def _environment(self) -> dict[str, str]:
        """Only what the job was given, and what any program needs to start."""
        packages, root = self.plan["packages"], Path(self.plan["root"])
        bin_folder, contract = "", Path()
        # A recipe without dependencies still gets a Python that has nothing else.
        if packages or self.plan["kind"] == "recipe":
            # An installer has children of its own, which nobody would end.
            os.environ[processes.MARK] = f"{self.mark}/setup"
            venv = environments.ensure(packages, root, self._log)
            files.write_json(self.job / "packages.json", environments.installed(venv))
            bin_folder, contract = f"{venv / 'bin'}:", venv / "bin" / "nemo-evaluator"
        home = self.job / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": f"{bin_folder}/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "EVALDOCK_CONTRACT": str(contract) if contract.is_file() else "",
            **({"EVALDOCK_CODE": self.plan["code"]} if self.plan["code"] else {}),
        }

    def _serve(self, environment: dict[str, str]) -> None:
        deployment = self.plan["deployment"]
        if deployment is None:
            return
        command = [word.replace("{port}", str(deployment["port"])) for word in deployment["command"]]
        secrets = shlex.quote(str(self.job / files.SERVER / files.SECRETS))
        prefix = f"[ ! -f {secrets} ] || {{ . {secrets}; rm -f {secrets}; }}; "
        log = self.job / files.DEPLOYMENT_LOG
        self._log(f"starting the {deployment['type']} deployment")
        with log.open("ab") as output:
            own = of_this_machine((SecretName(**each) for each in deployment["secrets"]), os.environ)
            given = {**environment, **deployment["env"], **own}
            shell = ["/bin/sh", "-c", f"{prefix}exec {shlex.join(command)}"]
            self._start("server", shell, given, output.fileno())
        self._wait_until_healthy(deployment, log)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str], output: int) -> None:
        # Of a process whose start is interrupted nobody knows the number, and for a moment it doesn't
        # have its mark yet.
        self.stoppable = False
        self.running[name] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, processes.MARK: f"{self.mark}/{name}"},
            cwd=self.job,
            start_new_session=True,
        )
        self._let_stop()

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
        server = self.running.get("server")
        if server is not None and server.poll() is not None:
            raise EvaldockError(f"the deployment ended with exit code {server.returncode}{_tail(log)}")

    def _run_script(self, environment: dict[str, str]) -> int:
        # The script names those of the machine that are missing.
        given = {name: os.environ[name] for name in self.plan["runtime"] if name in os.environ}
        command = ["/bin/sh", str(self.job / files.SCRIPT)]
        self._start("script", command, {**environment, **given}, subprocess.DEVNULL)
        while True:
            try:
                return self.running["script"].wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                self._check_server(self.job / files.DEPLOYMENT_LOG)

    def _leave_exit(self, code: int, reason: str | None) -> None:
        """What the script said of its end stays, unless it was ended from here because of `reason`."""
        (self.job / files.RESERVE).unlink(missing_ok=True)
        own = files.read_exit(self.job)
        if own is None or (reason is not None and own.exit_code != 0):
            ended = {"started": self.started, "ended": files.timestamp(), "attempt": self.plan["attempt"]}
            files.write_json(self.job / files.EXIT, {"exit_code": code, "reason": reason, **ended})
        if not (self.job / "stage.exit").exists():
            files.mark(self.job, "exit", exit_code=code)

    def _log(self, line: str) -> None:
        with contextlib.suppress(OSError), (self.job / files.JOB_LOG).open("a") as file:
            file.write(f"evaldock: {line}\n")


def _healthy(url: str) -> bool:
    # Asked directly: a proxy is for what lies outside.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(200 <= answer.status < 300)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _tail(log: Path, lines: int = 20) -> str:
    """The end of a log that may be long."""
    size = log.stat().st_size if log.exists() else 0
    data = files.read_log(log, max(0, size - 65536))[0].decode("utf-8", "replace")
    last = "\n".join(data.splitlines()[-lines:])
    return f"; its last lines:\n{last}" if last else "; it printed nothing"


if __name__ == "__main__":
    main()
