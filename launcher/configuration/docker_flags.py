"""`execution.docker_args`: flags of `docker run`, translated by one table into what the engine's API takes.

Source: the engine API's HostConfig and ContainerConfig, and `docker run --help` for the flags.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from catalog.nearest import did_you_mean

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt])?(?:i?b)?", re.IGNORECASE)


def size(text: str | int) -> int:
    """Bytes of `16g`, `512m`, `64GiB`, `1024`; units are powers of 1024, as for Docker. Raises ValueError."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a size: {text!r} (expected for example 16g or 512m)")
    return int(float(match[1]) * _UNITS[(match[2] or "b").lower()])


@dataclass(frozen=True, slots=True)
class Flag:
    """`setting` is the name in the backend's settings; `read` turns the flag's text into its value. With
    `many` it gathers a list."""

    setting: str
    read: Callable[[str], Any]
    many: bool = False
    switch: bool = False


def _number(text: str) -> float:
    return float(text)


def _whole(text: str) -> int:
    return int(text)


def _pair(text: str) -> list[str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"expected NAME=VALUE, got {text!r}")
    return [name, value]


def _gpus(text: str) -> dict[str, Any]:
    """`all`, a count, `device=0,2` or `"device=0,2"`."""
    plain = text.strip("\"'")
    if plain == "all":
        return {"gpus": -1, "gpu_ids": []}
    if plain.isdigit():
        return {"gpus": int(plain), "gpu_ids": []}
    if plain.startswith("device="):
        return {"gpus": None, "gpu_ids": plain.removeprefix("device=").split(",")}
    raise ValueError(f"expected all, a number or device=0,1, got {text!r}")


def _volume(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not (parts[0] and parts[1].startswith("/")):
        raise ValueError(f"expected SOURCE:/TARGET[:ro], got {text!r}")
    options = parts[2].split(",") if len(parts) == 3 else []
    return {"source": parts[0], "target": parts[1], "read_only": "ro" in options}


def _ulimit(text: str) -> dict[str, Any]:
    name, values = _pair(text)
    soft, _, hard = values.partition(":")
    return {"name": name, "soft": int(soft), "hard": int(hard or soft)}


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        "--gpus": Flag("gpus", _gpus),
        "--shm-size": Flag("shm_size", size),
        "--memory": Flag("memory_limit", size),
        "-m": Flag("memory_limit", size),
        "--memory-swap": Flag("memory_swap", size),
        "--cpus": Flag("cpus", _number),
        "--cpuset-cpus": Flag("cpuset_cpus", str),
        "--pids-limit": Flag("pids_limit", _whole),
        "--network": Flag("network", str),
        "--net": Flag("network", str),
        "--ipc": Flag("ipc_mode", str),
        "--pid": Flag("pid_mode", str),
        "--user": Flag("user", str),
        "-u": Flag("user", str),
        "--hostname": Flag("hostname", str),
        "--workdir": Flag("working_dir", str),
        "-w": Flag("working_dir", str),
        "--platform": Flag("platform", str),
        "--runtime": Flag("runtime", str),
        "--volume": Flag("mounts", _volume, many=True),
        "-v": Flag("mounts", _volume, many=True),
        "--env": Flag("env", _pair, many=True),
        "-e": Flag("env", _pair, many=True),
        "--add-host": Flag("extra_hosts", str, many=True),
        "--cap-add": Flag("cap_add", str, many=True),
        "--cap-drop": Flag("cap_drop", str, many=True),
        "--device": Flag("devices", str, many=True),
        "--dns": Flag("dns", str, many=True),
        "--group-add": Flag("group_add", str, many=True),
        "--security-opt": Flag("security_opt", str, many=True),
        "--tmpfs": Flag("tmpfs", str, many=True),
        "--ulimit": Flag("ulimits", _ulimit, many=True),
        "--init": Flag("init", bool, switch=True),
        "--privileged": Flag("privileged", bool, switch=True),
        "--read-only": Flag("read_only", bool, switch=True),
    }
)


def translate(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The settings, and a line for each flag that isn't in the table or can't be read. Both `--flag=value`
    and `--flag value` (one string or two) are understood; `--rm`, `-d`, `-i` and `-t` are the launcher's own
    decision and passed over."""
    settings: dict[str, Any] = {}
    problems: list[str] = []
    words = [word for argument in arguments for word in shlex.split(str(argument))]
    rest = iter(enumerate(words))
    for index, word in rest:
        if word in ("--rm", "-d", "--detach", "-i", "-t", "-it"):
            continue
        name, equals, value = word.partition("=")
        flag = FLAGS.get(name)
        if flag is None:
            problems.append(_unknown(name, index))
            continue
        if flag.switch:
            settings[flag.setting] = value.lower() != "false"
            continue
        if not equals:
            value = next(rest, (index, ""))[1]
        try:
            _add(settings, flag, flag.read(value))
        except ValueError as problem:
            problems.append(f"{name}: {problem}")
    return settings, problems


def _add(settings: dict[str, Any], flag: Flag, value: Any) -> None:
    if flag.many:
        settings.setdefault(flag.setting, []).append(value)
    elif flag.setting == "gpus":
        settings |= value
    else:
        settings[flag.setting] = value


def _unknown(name: str, index: int) -> str:
    known = ", ".join(sorted(f for f in FLAGS if f.startswith("--")))
    near = did_you_mean(name, FLAGS)
    return f"{name!r} (word {index + 1}) is not translated{near}; those that are: {known}"
