"""How a node runs a job: pieces of shell for no container at all and for each container runtime.

Every piece defines the same functions, which `launcher.node_script` calls:
`prepare` before anything starts, `launch` to start the job and wait for it (its exit code in `code`), `ask
SIGNAL` to pass a request on to it, `serve` to start the deployment, `clear` to leave nothing of both behind.
They may use what the node script defines: `here` (the job's folder), `say`, `fail`, `run`, `await`, `last`.
All text is POSIX sh; every value is quoted.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from launcher import run_directory as files
from launcher.backends import docker_arguments
from launcher.backends.docker_arguments import SERVER_FOLDER, SERVER_MOUNT
from launcher.jobs import CODE, Deployment, JobPlan, Mount, RunPlan

# Options of the engine's command line for settings that go by another name in its API.
_OPTIONS = MappingProxyType(
    {
        "mem_limit": "memory",
        "memswap_limit": "memory-swap",
        "network_mode": "network",
        "cap_add": "cap-add",
        "cap_drop": "cap-drop",
        "cpuset_cpus": "cpuset-cpus",
        "devices": "device",
        "dns": "dns",
        "extra_hosts": "add-host",
        "group_add": "group-add",
        "hostname": "hostname",
        "init": "init",
        "ipc_mode": "ipc",
        "pid_mode": "pid",
        "pids_limit": "pids-limit",
        "platform": "platform",
        "privileged": "privileged",
        "read_only": "read-only",
        "runtime": "runtime",
        "security_opt": "security-opt",
        "shm_size": "shm-size",
        "user": "user",
        "working_dir": "workdir",
    }
)
Piece = Callable[[RunPlan, JobPlan, int, str], str]


def quoted(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


def code_folder(root: str, job: JobPlan) -> str:
    """Where shipped code lies on the other side, shared by all runs below `root`."""
    return f"{root.rstrip('/')}/.evaldock/code/{job.code}"


def _with_code_below(root: str, job: JobPlan, mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**mount, "source": code_folder(root, job)} if mount["target"] == CODE and job.code else mount
        for mount in mounts
    ]


def _there(run: RunPlan) -> RunPlan:
    """The run with its folder on the other side as its only one."""
    return dataclasses.replace(run, directory=run.remote or run.directory, remote=None)


# -- no container ----------------------------------------------------------------------------------------

_PROCESS = r"""
ask() { [ "$job" = starting ] || kill "-$1" "$job" 2>/dev/null; }
serving() { read -r served <server/pid && kill "-$1" -- "-$served"; } 2>/dev/null
clear() {
  for each in ${job#starting} $server; do kill -KILL -- "-$each" "$each"; done
  serving TERM
  left=20
  while [ "$left" -gt 0 ] && serving 0; do nap; left=$((left - 1)); done
  serving KILL
  rm -f server/pid server/code
} 2>/dev/null
# A request to stop may arrive between a start and its being noted: it is passed on then.
launch() {
  job=starting
  (
    environment
    exec setsid @command@
  ) </dev/null >>logs/node.log 2>&1 &
  job=$!
  [ -z "$late" ] || ask TERM
  await "$job"
}
# Started by a shell that waits for it: only its parent learns of a process's end at once.
serve() {
  (
    (
      environment
      [ ! -f server/@secrets@ ] || . ./server/@secrets@
      rm -f server/@secrets@
@server_environment@
      exec setsid @server_command@
    ) </dev/null >>@server_log@ 2>&1 &
    echo "$!" >server/pid
    wait "$!"
    echo "$?" >server/code
    kill -USR1 "$$" 2>/dev/null
  ) &
  server=$!
}
server_end() { read -r ended <server/code 2>/dev/null && echo "with exit code $ended" || echo early; }
server_tail() { tail -n 20 @server_log@; }
"""

_NONE = r"""
environment() {
  unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
  PATH=${venv:+$venv/bin:}/usr/local/bin:/usr/bin:/bin HOME=$here/home LANG=C.UTF-8 PYTHONUNBUFFERED=1
  EVALDOCK_JOB=$mark EVALDOCK_CONTRACT=
  [ -z "$venv" ] || [ ! -x "$venv/bin/nemo-evaluator" ] || EVALDOCK_CONTRACT=$venv/bin/nemo-evaluator
  export PATH HOME LANG PYTHONUNBUFFERED EVALDOCK_JOB EVALDOCK_CONTRACT ADAPTER_PORT
  [ -z "$code_folder" ] || export EVALDOCK_CODE="$code_folder"
}
prepare() {
  venv= ADAPTER_PORT=
  mkdir -p home
@install@
}
"""

_INSTALL = r"""
  command -v python3 >/dev/null 2>&1 || fail "python3 is not on this node"
  # The contract's runner starts a proxy; of two jobs that look for a free port at once one would fail.
  ADAPTER_PORT=$(python3 -c 'import socket as s; one = s.create_server(("", 0)); print(one.getsockname()[1])')
  run python3 -c @program@ @folder@ "$code_folder" @digest@ @packages@ || fail "$(last)"
  read -r venv <environment
"""


def none(_run: RunPlan, job: JobPlan, _attempt: int, root: str) -> str:
    """The harness's packages in a virtual environment below `root`."""
    install = ""
    if job.packages:
        from importlib import resources  # noqa: PLC0415 # only where packages are installed

        program = resources.files("launcher").joinpath("node_environment.py").read_text()
        install = fill(
            _INSTALL,
            program=shlex.quote(program),
            folder=shlex.quote(f"{root.rstrip('/')}/.evaldock/environments"),
            digest=shlex.quote(job.code or ""),
            packages=quoted(job.packages),
        )
    server = job.deployment
    return fill(_NONE, install=install) + _processes(
        job,
        command=f'sh "$here/{files.SCRIPT}"',
        server_command=quoted(_server_words(server)) if server else "true",
    )


def _processes(job: JobPlan, *, command: str, server_command: str) -> str:
    """The functions for a runtime whose containers are processes like any other."""
    variables = sorted(job.deployment.env.items()) if job.deployment else ()
    return fill(
        _PROCESS,
        command=command,
        server_command=server_command,
        server_environment="".join(f"      export {k}={shlex.quote(str(v))}\n" for k, v in variables),
        server_log=files.DEPLOYMENT_LOG,
        secrets=files.SECRETS,
    )


def _server_words(server: Deployment) -> list[str]:
    return [word.replace("{port}", str(server.port)) for word in server.command]


# -- docker and podman -----------------------------------------------------------------------------------

_ENGINE = r"""
engine=@engine@ name=@name@ server_name=@name@-server
ask() { "$engine" kill --signal "$1" "$name" >/dev/null 2>&1; }
clear() { "$engine" rm --force --volumes "$name" "$server_name" >/dev/null 2>&1; }
present() {
  "$engine" image inspect "$1" >/dev/null 2>&1 && return
  say "pulling $1"
  run "$engine" pull @platform@"$1" || fail "$1 can't be pulled: $(last)"
}
prepare() {
  command -v "$engine" >/dev/null 2>&1 || fail "$engine is not on this node"
  # What a shell that was killed here may have left.
  clear
  present @image@
@give@
}
launch() {
  run "$engine" create @arguments@ || fail "the container can't be created: $(last)"
  job=container
  if ! run "$engine" start "$name"; then
    trouble=$(last) job=
    [ -z "$server" ] || running "$server_name" || server_ended
    fail "the container can't be started: $trouble"
  fi
  [ -z "$late" ] || ask TERM
  "$engine" wait "$name" >.code 2>>logs/node.log &
  await "$!"
  read -r code <.code || code=70
  rm -f .code
  [ "$("$engine" inspect --format '{{.State.OOMKilled}}' "$name" 2>/dev/null)" != true ] || memory=out
}
running() { [ "$("$engine" inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }
@serve@
server_end() { echo "before the evaluation"; }
server_tail() { "$engine" logs --tail 20 "$server_name" 2>&1; }
"""

_SERVE_ENGINE = r"""
serve() {
  present @image@
@words@
  run "$engine" create @arguments@ "$@" || fail "the deployment can't be created: $(last)"
  run "$engine" start "$server_name" || fail "the deployment can't be started: $(last)"
  (
    "$engine" logs --follow "$server_name" >>@server_log@ 2>&1
    "$engine" wait "$server_name" >/dev/null 2>&1
    kill -USR1 "$$" 2>/dev/null
  ) &
  server=$!
}
"""

# What the image itself starts, where the secrets' file has to be read before it. Asked word by word, since a
# word may hold anything.
_OWN_WORDS = r"""
  set --
  for part in @parts@; do
    count=$("$engine" image inspect --format "{{len .Config.$part}}" @image@ 2>/dev/null) at=0
    while [ "$at" -lt "${count:-0}" ]; do
      word=$("$engine" image inspect --format "{{index .Config.$part $at}}" @image@)
      set -- "$@" "$word"
      at=$((at + 1))
    done
  done
"""


def engine(program: str) -> Piece:
    """`docker`, or `podman`, which takes the same words."""

    def piece(run: RunPlan, job: JobPlan, attempt: int, root: str) -> str:
        there = _there(run)
        given = docker_arguments.container(there, job, attempt)
        given = {**given, "mounts": _with_code_below(root, job, given["mounts"])}
        platform = given.get("platform")
        return fill(
            _ENGINE,
            engine=program,
            name=shlex.quote(docker_arguments.name(job, attempt)),
            platform=f"--platform {shlex.quote(platform)} " if platform else "",
            image=shlex.quote(str(job.image)),
            give=_give(job),
            arguments=quoted([*_options(given, program), str(job.image), *given["command"]]),
            serve=_serve_engine(there, job, attempt, program) if job.deployment else "",
        )

    return piece


def _give(job: JobPlan) -> str:
    """Who runs as a user of its own must be able to write in the job's folder; a name is the image's to know.
    Variables of the node go the way of all secrets."""
    lines = [
        f'  [ -z "${{{s.source}+set}}" ] || hand {s.source} "${s.source}"\n'
        for s in job.secrets
        if s.where == "runtime"
    ]
    uid = (job.user or "").partition(":")[0]
    if uid.isdigit():
        lines.append(f'  [ "$(id -u)" != 0 ] || chown -R {shlex.quote(job.user or "")} .\n')
    return "".join(lines)


def _serve_engine(run: RunPlan, job: JobPlan, attempt: int, program: str) -> str:
    assert job.deployment is not None  # noqa: S101 # its caller asked
    given = docker_arguments.server(run, job, job.deployment, attempt)
    image, command, words = str(given["image"]), list(given["command"]), "  set --\n"
    if job.deployment.secrets:
        # Mounted, read and deleted before the server starts: nothing of them is in what the engine tells.
        own, path = given.get("entrypoint"), f"{SERVER_MOUNT}/{files.SECRETS}"
        if own is None:
            words = fill(
                _OWN_WORDS, parts="Entrypoint" if command else "Entrypoint Cmd", image=shlex.quote(image)
            )
            words += f'  set -- "$@" {quoted(command)}\n'
        folder = Mount(source=f"{run.folder(job)}/{SERVER_FOLDER}", target=SERVER_MOUNT)
        mounts = [*given["mounts"], dataclasses.asdict(folder)]
        given = {**given, "mounts": mounts, "entrypoint": ["/bin/sh"]}
        command = ["-c", f'. {path} && rm -f {path} && exec "$@"', "sh", *((*own, *command) if own else ())]
    # The command line takes only the first word of an entry point.
    rest = list(given.get("entrypoint", ())[1:])
    return fill(
        _SERVE_ENGINE,
        image=shlex.quote(image),
        words=words,
        arguments=quoted([*_options(given, program), image, *rest, *command]),
        server_log=files.DEPLOYMENT_LOG,
    )


def _options(given: Mapping[str, Any], program: str) -> list[str]:
    """The engine's API arguments as options of `create`."""
    words = [f"--name={given['name']}"]
    words += [f"--label={key}={value}" for key, value in given["labels"].items()]
    for key, option in _OPTIONS.items():
        value = given.get(key)
        for each in value if isinstance(value, list | tuple) else () if value is None else (value,):
            words.append(f"--{option}={str(each).lower() if isinstance(each, bool) else each}")
    if "nano_cpus" in given:
        words.append(f"--cpus={given['nano_cpus'] / 1e9:g}")
    for request in given.get("device_requests", ()):
        words += _gpus(request, program)
    for limit in given.get("ulimits", ()):
        words.append(f"--ulimit={limit['name']}={limit['soft']}:{limit['hard']}")
    words += [
        f"--tmpfs={path}:{options}" if options else f"--tmpfs={path}"
        for path, options in given.get("tmpfs", {}).items()
    ]
    words += [f"--env={name}={value}" for name, value in given.get("environment", {}).items()]
    words += [f"--mount={_mount(mount)}" for mount in given["mounts"]]
    if given.get("entrypoint"):
        words.append(f"--entrypoint={given['entrypoint'][0]}")
    return words


def _gpus(request: Mapping[str, Any], program: str) -> list[str]:
    ids, count = request.get("device_ids"), request.get("count")
    if program == "podman":
        devices = ids or (["all"] if count == -1 else [str(number) for number in range(count or 0)])
        return [f"--device=nvidia.com/gpu={device}" for device in devices]
    if ids:
        return [f'--gpus="device={",".join(ids)}"']
    return [f"--gpus={'all' if count == -1 else count}"]


def _mount(mount: Mapping[str, Any]) -> str:
    """One record of comma-separated values (RFC 4180), as the engine reads it."""
    kind = "bind" if str(mount["source"]).startswith("/") else "volume"
    fields = [f"type={kind}", f"source={mount['source']}", f"target={mount['target']}"]
    fields += ["readonly"] if mount["read_only"] else []
    return ",".join('"' + f.replace('"', '""') + '"' if set(f) & set(',"\n') else f for f in fields)


# -- runtimes ------------------------------------------------------------------------------------------------

RUNTIMES: Mapping[str, Piece] = MappingProxyType(
    {"none": none, "docker": engine("docker"), "podman": engine("podman")}
)


def fill(template: str, **values: str) -> str:
    """Shell text is full of braces: names stand between at signs. One alone on a line stands for lines, or
    for none."""

    def value(match: re.Match[str]) -> str:
        found = values[match[1] or match[2]]
        return found if match[2] or not found or found.endswith("\n") else f"{found}\n"

    return re.sub(r"^@([a-z_]+)@\n|@([a-z_]+)@", value, template.lstrip("\n"), flags=re.MULTILINE)
