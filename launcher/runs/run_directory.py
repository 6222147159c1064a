"""The files of a run and of its jobs: names, and reading and writing them whole.

The same on every backend: `job.json`, `run.sh`, `run_config.yml`, `stage.pre-start|running|exit`,
`exit.json`, `logs/`, `artifacts/` (the results folder, which outlives attempts), `attempts/<n>/` (what
earlier ones left).
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from launcher.jobs import JobPlan, JobStatus, State
from launcher.runs.locking import locked

HANDLE = "run.json"
CONFIG = "config.yaml"
JOB = "job.json"
SCRIPT = "run.sh"
RUN_CONFIG = "run_config.yml"
EXIT = "exit.json"
SECRETS = ".secrets"
# What a server beside the job has to itself.
SERVER = "server"
RESERVE = ".reserve"
# Names the newest start of a job that its scheduler may start again while an older start still lives.
START = ".start"
SUBMITTING = ".submitting"
RESULTS = "artifacts/results.yml"
STAGES = ("stage.pre-start", "stage.running", "stage.exit")
LOGS = "logs"
JOB_LOG = "logs/job.log"
DEPLOYMENT_LOG = "logs/deployment.log"
ARTIFACTS = "artifacts"
ATTEMPTS = "attempts"
# Below the run's folder: archives of shipped code, `<sha256>.tar.gz`, and what was unpacked from them.
CODE = "code"
MAX_STATE_BYTES = 1 << 20
# A handle holds the plan of every job.
MAX_HANDLE_BYTES = 1 << 30
# Characters of the reason that a job gives for its end.
MAX_REASON = 4000
_MAX_CODE = (1 << 31) - 1
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{5,18}(?:Z|[+-]\d\d:\d\d)", re.ASCII)
# The reason that every job's script gives where it was asked to stop.
STOPPED = "stopped on request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """What a job says of its own end: `started` and `ended` are RFC 3339 in UTC, `reason` is None where the
    exit code says it all."""

    exit_code: int
    reason: str | None = None
    started: str | None = None
    ended: str | None = None
    attempt: int = 1

    def status(self, native: str, seen: float) -> JobStatus:
        """The job's, as it ended by its own word. `native` and `seen` are as in JobStatus."""
        if self.exit_code == 0:
            state = State.SUCCEEDED
        else:
            state = State.CANCELLED if self.reason == STOPPED else State.FAILED
        return JobStatus(state=state, reason=self.reason, exit_code=self.exit_code, native=native, seen=seen)


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def write_json(path: Path, data: Any, *, mode: int = 0o644) -> None:
    """Replaces `path` in one step, so that nobody reads half of it."""
    write_bytes(path, (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode(), mode=mode)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replaces `path` in one step. `mode` holds from the first byte on."""
    waiting = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    file = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
        waiting.replace(path)
    except BaseException:
        waiting.unlink(missing_ok=True)
        raise


def open_file(path: Path) -> BinaryIO:
    """A file in a folder that a job may fill as it likes. What is no file there, but a link that leads
    elsewhere (or lies in a folder that is one), or a pipe that nobody writes to, is as good as missing.

    Raises FileNotFoundError for that, and other kinds of OSError."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            stream = os.fdopen(os.open(path.name, flags, dir_fd=folder), "rb")
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise _no_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _no_file(path)
    return stream


def _no_file(path: Path) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no file of the job's", str(path))


def read_json(path: Path) -> dict[str, Any] | None:
    """None for a file that is missing (see `open_file`), too large, or not a JSON object: a job can write
    what it likes."""
    try:
        with open_file(path) as file:
            data = file.read(MAX_STATE_BYTES + 1)
    except OSError:
        return None
    return json_object(data) if len(data) <= MAX_STATE_BYTES else None


def read_handle(path: Path) -> dict[str, Any] | None:
    """The same for the handle of a run, which is the launcher's own, and as large as the run."""
    try:
        return json_object(path.read_bytes()) if path.stat().st_size <= MAX_HANDLE_BYTES else None
    except OSError:
        return None


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """None for anything else, brackets without end included."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def read_exit(job: Path) -> Exit | None:
    """The job's own word about its end, None as long as there is none."""
    return exit_of(read_json(job / EXIT))


def exit_of(data: Mapping[str, Any] | None) -> Exit | None:
    """From what stands in an `exit.json`; None for what can't be one. What it says goes into the database and
    records: it is cut to what they take."""
    code = data.get("exit_code") if data is not None else None
    if data is None or isinstance(code, bool) or not isinstance(code, int) or abs(code) > _MAX_CODE:
        return None
    reason, attempt = data.get("reason"), data.get("attempt")
    times = {
        name: data[name]
        for name in ("started", "ended")
        if isinstance(data.get(name), str) and _TIME.fullmatch(data[name])
    }
    return Exit(
        exit_code=code,
        # Half a character can't be written anywhere.
        reason=reason[:MAX_REASON].encode("utf-8", "replace").decode() if isinstance(reason, str) else None,
        attempt=attempt if isinstance(attempt, int) else 1,
        **times,
    )


def bring(job: Path, destination: Path) -> None:
    """Copies a job's folder that this machine sees to where it is wanted, unless it is there already."""
    if job.is_dir() and job.resolve() != destination.resolve():
        shutil.copytree(job, destination, dirs_exist_ok=True, symlinks=True)


def mark(job: Path, stage: str, **more: Any) -> None:
    """Writes `stage.<stage>` with the time."""
    write_json(job / f"stage.{stage}", {"time": timestamp(), **more})


def begin_attempt(job: Path, plan: JobPlan, attempt: int) -> None:
    """Makes the job's folders, writes its plan into them, and moves what the attempt before left out of the
    way. Can be repeated."""
    for folder in (LOGS, ARTIFACTS):
        (job / folder).mkdir(parents=True, exist_ok=True)
    write_json(job / JOB, {**dataclasses.asdict(plan), "attempt": attempt})
    # Given back before the end is written: a job that fills the disk can still say so.
    write_bytes(job / RESERVE, b"." * 32768)
    if attempt == 1:
        return
    kept = job / ATTEMPTS / str(attempt - 1)
    kept.mkdir(parents=True, exist_ok=True)
    for name in (*STAGES, EXIT, JOB_LOG, DEPLOYMENT_LOG, RESULTS):
        if (job / name).exists():
            (job / name).replace(kept / Path(name).name)


@contextmanager
def submitting(job: Path) -> Iterator[int]:
    """The job's folder, made and held against everybody else who submits the same job; the descriptor of its
    lock, which a child that inherits it holds on to."""
    with locked(job / SUBMITTING) as lock:
        yield lock


def secrets_text(values: Mapping[str, str]) -> str:
    """What the script sources."""
    import shlex  # noqa: PLC0415 # only where there are secrets

    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(values.items()))


def write_secrets(folder: Path, values: Mapping[str, str]) -> None:
    """A file that only its owner can read, for who starts there to source and delete."""
    if values:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / SECRETS, secrets_text(values).encode(), mode=0o600)


def forget_secrets(job: Path) -> None:
    """The job's own, and those of the server beside it."""
    for folder in (job, job / SERVER):
        (folder / SECRETS).unlink(missing_ok=True)


def add_line(path: Path, line: str) -> None:
    """To a log of the launcher's own in a job's folder. Nothing is written behind a link, and nothing where
    the disk is what is wrong: the state in the database says the same."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError), os.fdopen(os.open(path, flags, 0o644), "a") as file:
        file.write(f"{line}\n")


def read_log(path: Path, since: int, limit: int = 1 << 20) -> tuple[bytes, int]:
    """At most `limit` bytes from `since`, and where to go on. A log that was cut starts over."""
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = since if since <= size else 0
            file.seek(start)
            data = file.read(limit)
            return data, start + len(data)
    except FileNotFoundError:
        return b"", since
