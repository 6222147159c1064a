"""`execution` settings of the backend `slurm`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from launcher.configuration.model import Execution, Size

if TYPE_CHECKING:
    from launcher.jobs import JobPlan

# Flags of sbatch that have a setting of their own, and those that the backend needs for itself.
_SETTINGS = {
    "account": "account",
    "A": "account",
    "partition": "partition",
    "p": "partition",
    "qos": "qos",
    "q": "qos",
    "nodes": "nodes",
    "N": "nodes",
    "gpus-per-node": "gpus_per_node",
    "cpus-per-task": "cpus_per_task",
    "c": "cpus_per_task",
    "mem": "memory",
    "time": "walltime",
    "t": "walltime",
}
_OURS = (
    *(
        "job-name",
        "J",
        "output",
        "o",
        "error",
        "e",
        "chdir",
        "D",
        "open-mode",
        "dependency",
        "d",
        "array",
        "a",
    ),
    *("kill-on-invalid-dep", "requeue", "no-requeue", "signal", "wrap", "parsable", "wait", "W", "test-only"),
    *("export", "export-file", "get-user-env", "hold", "H", "input", "i", "kill-on-bad-exit", "quiet", "Q"),
    *("ntasks", "n", "ntasks-per-node", "batch", "help", "h", "version", "V", "uid", "gid"),
)
# With these sbatch may hand a job to a cluster where nobody would look for it.
_ELSEWHERE = ("clusters", "M", "cluster-constraint")
_FLAG = re.compile(r"--([a-z][a-z0-9-]*)(?:=(.+))?|-([A-Za-z])(.*)", re.DOTALL)
_WORD = re.compile(r"[\w.,:@%+=/\[\]*&|!()-]+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def seconds_of(value: Any) -> int:
    """Slurm's times: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`,
    `days-hours:minutes`, `days-hours:minutes:seconds`. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(
            'expected text such as "04:00:00" in quotes: YAML reads 12:00:00 without them as the number 43200'
        )
    match = _CLOCK.fullmatch(value.strip())
    if match is None:
        raise ValueError('expected a time such as "04:00:00" or "2-12:00:00"')
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is not None:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, [*numbers, 0][:2]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise ValueError("a job needs some time")
    return total


def clock(seconds: int) -> str:
    """`hours:minutes:seconds`, which every Slurm takes."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _name(value: str) -> str:
    if not _WORD.fullmatch(value) or value.startswith("-"):
        raise ValueError("not a name that Slurm could know")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", value) or value.startswith("-"):
        raise ValueError("not a host's name")
    return value


def _folder(value: str) -> str:
    if not PurePosixPath(value).is_absolute() or any(ord(character) < 32 for character in value):
        raise ValueError("expected an absolute path")
    return value


def misread(folder: str) -> str:
    """What in the path of a job's folder is a sign to Slurm: see "filename pattern" in sbatch(1)."""
    return " and ".join(sign for sign in ("%", "\\", "\n") if sign in folder).replace("\n", "a line's end")


def sbatch_flag(text: str) -> str:
    """An extra flag as one line of the script has it. Raises ValueError."""
    match = _FLAG.fullmatch(text.strip())
    if match is None or any(ord(character) < 32 for character in text):
        raise ValueError("expected one flag of sbatch, such as --constraint=a100")
    name, value = (match[1], match[2]) if match[1] else (match[3], match[4].strip())
    flag = f"--{name}" if match[1] else f"-{name}"
    if name in _SETTINGS:
        raise ValueError(f"use execution.{_SETTINGS[name]}")
    # sbatch takes the beginning of a long flag for the whole; `--gpus` is one by itself.
    if name in _ELSEWHERE or (len(name) > 1 and any(f.startswith(name) for f in _ELSEWHERE)):
        raise ValueError(f"{flag} leads to another cluster: name its head node in execution.hostname")
    begun = len(name) > 1 and name != "gpus" and any(f.startswith(name) for f in (*_SETTINGS, *_OURS))
    if name in _OURS or begun:
        raise ValueError(f"evaldock sets {flag} itself")
    if not value:
        return flag
    # sbatch's own reader of these lines knows quotes, but no way to write one inside the other kind.
    plain = value.strip("\"'")
    if not _WORD.fullmatch(plain):
        if '"' in plain or "\\" in plain:
            raise ValueError("quotes and backslashes can't stand in a flag of sbatch")
        plain = f'"{plain}"'
    return f"{flag}={plain}" if match[1] else f"{flag} {plain}"


def _flags(values: Any) -> Any:
    return tuple(sbatch_flag(str(value)) for value in values) if isinstance(values, list | tuple) else values


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[int, BeforeValidator(seconds_of)]
Runtime = Literal["pyxis", "apptainer", "docker", "podman", "none"]


class SlurmExecution(Execution):
    """`output_dir` is a folder that the cluster's nodes share, `walltime` what one start of a job may take,
    `max_walltime` what all its starts together may (both become seconds). Without `hostname` evaldock runs on
    the head node itself."""

    type: str = "slurm"
    mode: Literal["sequential", "parallel"] = "parallel"
    hostname: Annotated[str, AfterValidator(_host)] | None = None
    username: Annotated[str, AfterValidator(_name)] | None = None
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    ssh_key_path: str | None = None
    account: Name | None = None
    partition: Name | None = None
    qos: Name | None = None
    nodes: Annotated[int, Field(ge=1)] = 1
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    cpus_per_task: Annotated[int, Field(ge=1)] | None = None
    memory: Size | None = None
    walltime: Seconds | None = None
    max_walltime: Seconds | None = seconds_of("5-00")
    array: bool = True
    auto_resume: bool = True
    stop_before: Annotated[int, Field(ge=10)] = 120
    container_runtime: Runtime = "pyxis"
    container_mounts: tuple[str, ...] = ()
    sbatch_args: Annotated[tuple[str, ...], BeforeValidator(_flags)] = ()
    with_ray: bool = False
    ray_bin: Annotated[str, AfterValidator(_folder)] | None = None
    slurm_bin: Annotated[str, AfterValidator(_folder)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _common(cls, data: Any) -> Any:
        """What every backend has under another name."""
        if not isinstance(data, Mapping):
            return data
        made = dict(data)
        pairs = (("cpus_per_task", "cpus"), ("memory", "memory_limit"), ("gpus_per_node", "gpus"))
        for own, common in pairs:
            if made.get(own) not in (None, 0, "0"):
                made.setdefault(common, made[own])
            elif made.get(common) is not None and own not in made:
                made[own] = made[common]
        mounts = made.get("container_mounts")
        if isinstance(mounts, list | tuple):
            made["mounts"] = [*made.get("mounts", ()), *mounts]
            made["container_mounts"] = ()
        return made

    @property
    def contained(self) -> bool:
        return self.container_runtime != "none"

    @property
    def remote(self) -> str | None:
        return self.output_dir if self.hostname else None

    def check(self, jobs: Sequence[JobPlan]) -> tuple[list[str], list[str]]:
        problems, warnings = [], []
        if self.hostname and not self.output_dir:
            problems.append("execution.output_dir: a folder on the cluster is needed that its nodes share")
        try:
            _folder(self.remote or "/")
        except ValueError as error:
            problems.append(f"execution.output_dir: {error}, got {self.remote!r}")
        if self.output_dir and (odd := misread(self.output_dir)):
            problems.append(f"execution.output_dir: {odd} in {self.output_dir!r} means something to Slurm")
        if self.walltime and self.auto_resume and self.walltime <= self.stop_before:
            problems.append(
                f"execution.walltime: {clock(self.walltime)} leaves nothing before the job is asked to stop, "
                f"{self.stop_before} seconds before its end (execution.stop_before)"
            )
        if (
            self.nodes > 1
            and self.container_runtime in ("docker", "podman")
            and any(j.deployment for j in jobs)
        ):
            warnings.append(
                f"a deployment under {self.container_runtime} runs on the first of the {self.nodes} nodes; "
                "pyxis, apptainer and none start it on all of them"
            )
        return problems, warnings
