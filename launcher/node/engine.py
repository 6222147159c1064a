"""Jobs in containers of Docker or Podman on a node: both take the same words."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import Refused
from launcher.backends import docker_arguments
from launcher.backends.docker_arguments import SERVER_MOUNT
from launcher.jobs import JobPlan, Mount, RunPlan
from launcher.node import gpus
from launcher.node.text import Piece, fill, give, quoted, there, with_code_below
from launcher.runs import run_directory as files

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

_ENGINE = r"""
engine=@engine@ name=@name@ server_name=@name@-server
ask() { "$engine" kill --signal "$1" "$name" >/dev/null 2>&1; }
# A newer start on this very machine has taken over the names. They are taken one by one: of several podman
# leaves those be that stand behind an unknown one.
clear() {
  ours || [ "$beside" != "$(uname -n)" ] || return
  for each in "$name" "$server_name"; do
@kill@
    "$engine" rm --force --volumes "$each"
  done >/dev/null 2>&1
}
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
@grant@
launch() {
  run "$engine" create @arguments@ || fail "the container can't be created: $(last)"
  job=container
  if ! run "$engine" start "$name"; then
    trouble=$(last) job=
    [ -z "$late" ] || exit 143
    [ -z "$server" ] || running "$server_name" || server_ended
    fail "the container can't be started: $trouble"
  fi
  [ -z "$late" ] || ask TERM
  # Slurm's own signals end whoever waits, not the container.
  until
    "$engine" wait "$name" >.code 2>>logs/node.log &
    await "$!"
    read -r code <.code
  do
    "$engine" inspect "$name" >/dev/null 2>&1 || { code=70 && break; }
    nap
  done
  rm -f .code
  [ "$("$engine" inspect --format '{{.State.OOMKilled}}' "$name" 2>/dev/null)" != true ] || memory=out
@memory@
}
running() { [ "$("$engine" inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }
@serve@
server_end() { echo "before the evaluation"; }
server_tail() { "$engine" logs --tail 20 "$server_name" 2>&1; }
"""

# What it removes by force it asks to stop first, for ten seconds.
_PODMAN_KILL = """\
    "$engine" kill --signal KILL "$each"
"""
# conmon up to 2.1 notes in the folder that it is started in what podman looks for elsewhere.
_PODMAN_MEMORY = r"""
  [ "$code" != 137 ] || [ ! -f oom ] || memory=out
  rm -f oom
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
        if job.kind == "recipe" and job.resources.nodes > 1:
            raise Refused(f"{program} runs a recipe on one node; take pyxis, apptainer or no container")
        lying = there(run)
        given = docker_arguments.container(lying, job, attempt)
        given = {**given, "mounts": with_code_below(root, job, given["mounts"])}
        platform = given.get("platform")
        words = quoted([*_options(given), str(job.image), *given["command"]])
        arguments = gpus.words(given, program) + words
        serve = _serve_engine(lying, job, attempt, program) if job.deployment else ""
        return fill(
            _ENGINE,
            engine=program,
            name=shlex.quote(docker_arguments.name(job, attempt)),
            platform=f"--platform {shlex.quote(platform)} " if platform else "",
            image=shlex.quote(str(job.image)),
            kill=_PODMAN_KILL if program == "podman" else "",
            give=give(job),
            grant=gpus.granting(run, program) if "$(granted " in arguments + serve else "",
            arguments=arguments,
            memory=_PODMAN_MEMORY if program == "podman" else "",
            serve=serve,
        )

    return piece


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
        folder = Mount(source=f"{run.folder(job)}/{files.SERVER}", target=SERVER_MOUNT)
        mounts = [*given["mounts"], dataclasses.asdict(folder)]
        given = {**given, "mounts": mounts, "entrypoint": ["/bin/sh"]}
        command = ["-c", f'. {path} && rm -f {path} && exec "$@"', "sh", *((*own, *command) if own else ())]
    # The command line takes only the first word of an entry point.
    rest = list(given.get("entrypoint", ())[1:])
    return fill(
        _SERVE_ENGINE,
        image=shlex.quote(image),
        words=words,
        arguments=gpus.words(given, program) + quoted([*_options(given), image, *rest, *command]),
        server_log=files.DEPLOYMENT_LOG,
    )


def _options(given: Mapping[str, Any]) -> list[str]:
    """The engine's API arguments as options of `create`."""
    words = [f"--name={given['name']}"]
    words += [f"--label={key}={value}" for key, value in given["labels"].items()]
    for key, option in _OPTIONS.items():
        value = given.get(key)
        for each in value if isinstance(value, list | tuple) else () if value is None else (value,):
            words.append(f"--{option}={str(each).lower() if isinstance(each, bool) else each}")
    if "nano_cpus" in given:
        words.append(f"--cpus={given['nano_cpus'] / 1e9:g}")
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


def _mount(mount: Mapping[str, Any]) -> str:
    """One record of comma-separated values (RFC 4180), as the engine reads it."""
    kind = "bind" if str(mount["source"]).startswith("/") else "volume"
    fields = [f"type={kind}", f"source={mount['source']}", f"target={mount['target']}"]
    fields += ["readonly"] if mount["read_only"] else []
    return ",".join('"' + f.replace('"', '""') + '"' if set(f) & set(',"\n') else f for f in fields)
