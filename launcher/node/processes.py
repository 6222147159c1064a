"""Jobs on a node as processes: without a container, or in one of a runtime whose containers are processes."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.errors import Refused
from catalog.identity import is_local
from catalog.references import ImageRef
from launcher.backends import docker_arguments
from launcher.jobs import CODE, JOB_FOLDER, JobPlan, Resources, RunPlan
from launcher.node.squash import squashed, squashing
from launcher.node.text import fill, give, quoted, there, with_code_below
from launcher.runs import run_directory as files

_PROCESS = r"""
@ask@
serving() { read -r served <server/pid && kill -s "$1" -- "-$served"; } 2>/dev/null
clear() {
  for each in ${job#starting} $server; do kill -s KILL -- "-$each" "$each"; done
  ours || return
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
  job=
@parts_end@
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

_ASK = r"""
ask() { [ "$job" = starting ] || kill "-$1" "$job" 2>/dev/null; }
"""

# Asked to stop, srun has the step's processes killed at once, and who passes what on into a container is the
# runtime's affair: the job's script is found by its environment, until it is there to be found.
_ASK_INSIDE = r"""
tell() { @on_nodes@sh -c @telling@ "$marked" </dev/null; }
ask() {
  [ "$job" != starting ] || return
  if [ "$1" = KILL ]; then
    kill -s @kill@ "$job"
  else
    (while kill -s 0 "$job" && ! tell; do sleep 1; done) &
  fi
} >/dev/null 2>&1
"""
_TELLING = r"""found=1
for entry in $(grep -lszx "EVALDOCK_JOB=$0" /proc/[0-9]*/environ); do
  entry=${entry%/environ}
  case $(tr "\0" "\n" <"$entry/cmdline" | sed -n 2p) in
  */@script@) kill -s TERM "${entry#/proc/}" && found=0 ;;
  esac
done
exit "$found"
"""

# `EVALDOCK_HEAD` is the first of several nodes: it is the one that this script runs on.
_COMMON = r"""
environment() {
  unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
  EVALDOCK_JOB=$marked EVALDOCK_HEAD=$(uname -n)
  export EVALDOCK_JOB EVALDOCK_HEAD
  own_environment
}
"""

_NONE = r"""
own_environment() {
  PATH=${venv:+$venv/bin:}$PATH HOME=$here/home LANG=C.UTF-8 PYTHONUNBUFFERED=1
  EVALDOCK_CONTRACT=
  [ -z "$venv" ] || [ ! -x "$venv/bin/nemo-evaluator" ] || EVALDOCK_CONTRACT=$venv/bin/nemo-evaluator
  export PATH HOME LANG PYTHONUNBUFFERED EVALDOCK_CONTRACT
  [ -z "$code_folder" ] || export EVALDOCK_CODE="$code_folder"
}
prepare() {
  venv=
  mkdir -p home
@install@
@parts@
}
"""

_INSTALL = r"""
  command -v python3 >/dev/null 2>&1 || fail "python3 is not on this node"
  run python3 -c @program@ @folder@ "$code_folder" @digest@ @packages@ || fail "$(last)"
  read -r venv <environment
"""


def none(_run: RunPlan, job: JobPlan, _attempt: int, root: str) -> str:
    """The harness's packages in a virtual environment below `root`."""
    install = ""
    if job.packages:
        from importlib import resources  # noqa: PLC0415 # only where packages are installed

        program = resources.files("launcher.node").joinpath("environment.py").read_text()
        install = fill(
            _INSTALL,
            program=shlex.quote(program),
            folder=shlex.quote(f"{root.rstrip('/')}/.evaldock/environments"),
            # What an index gives doesn't change with the code.
            digest=shlex.quote((job.code or "") if any(map(is_local, job.packages)) else ""),
            packages=quoted(job.packages),
        )
    words = _server_words(job)
    return fill(_NONE, install=install, parts=_parts(job)) + _processes(
        job,
        ask=_asking(job, step=True) if _nodes(job) > 1 else fill(_ASK),
        command=_on_all_nodes(_nodes(job)) + _command(job, '"$here"'),
        server_command=f"{_on_all_nodes(_server_nodes(job))}{quoted(words)}",
    )


def _processes(job: JobPlan, *, ask: str, command: str, server_command: str) -> str:
    """The functions for a runtime whose containers are processes like any other."""
    variables = sorted(job.deployment.env.items()) if job.deployment else ()
    return fill(_COMMON) + fill(
        _PROCESS,
        ask=ask,
        command=command,
        server_command=server_command,
        server_environment="".join(f"      export {k}={shlex.quote(str(v))}\n" for k, v in variables),
        server_log=files.DEPLOYMENT_LOG,
        secrets=files.SECRETS,
        parts_end=_PARTS_END if _nodes(job) > 1 else "",
    )


def _asking(job: JobPlan, *, step: bool) -> str:
    return fill(
        _ASK_INSIDE,
        on_nodes=_step(_nodes(job), all_or_none=0) if _nodes(job) > 1 else "",
        telling=shlex.quote(fill(_TELLING, script=files.SCRIPT)),
        kill="TERM" if step else "KILL",
    )


def _server_words(job: JobPlan) -> list[str]:
    server = job.deployment
    if server and not server.command:
        raise Refused(
            f"a {server.type} deployment without a command is started by its image",
            hint="only docker and podman know how; take one of them, or give deployment.command",
        )
    return [word.replace("{port}", str(server.port)) for word in server.command] if server else ["true"]


# -- several nodes ---------------------------------------------------------------------------------------

# Every node but the first has the job's script in a folder of its own, with an account of its own.
_PARTS = r"""
  for part in @parts@; do
    mkdir -p "nodes/$part/logs" "nodes/$part/artifacts"
    cp run.sh run_config.yml "nodes/$part/"
    [ ! -f @secrets@ ] || cp -p @secrets@ "nodes/$part/@secrets@"
  done
"""
# What the first node says of its part is not the whole.
_PARTS_END = r"""
  for part in nodes/*; do
    grep -q '"exit_code": 0,' "$part/exit.json" 2>/dev/null || spoiled=$part
  done
  [ "$code" != 0 ] || [ -z "$spoiled" ] || code=70
  [ -z "$spoiled" ] || [ "$late" ] || reason="the part of another node failed; its log is in $spoiled/logs"
"""
_PART = 'cd "$0" && { [ "$SLURM_PROCID" = 0 ] || cd "nodes/$SLURM_PROCID"; } && exec sh "$PWD/run.sh"'


def _nodes(job: JobPlan) -> int:
    """On how many the job's own command runs."""
    return job.resources.nodes if job.on_every_node else 1


def _server_nodes(job: JobPlan) -> int:
    return job.deployment.resources.nodes if job.deployment else 1


def _on_all_nodes(nodes: int) -> str:
    return _step(nodes) if nodes > 1 else ""


def _step(nodes: int, *, all_or_none: int = 1) -> str:
    """A step of the allocation. It has this shell's environment, whatever the job itself was given."""
    words = f"srun --overlap --export=ALL --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 "
    return f"{words}--kill-on-bad-exit={all_or_none} " if nodes > 1 else words


def _parts(job: JobPlan) -> str:
    nodes = _nodes(job)
    numbers = " ".join(str(number) for number in range(1, nodes))
    return fill(_PARTS, parts=numbers, secrets=files.SECRETS) if nodes > 1 else ""


def _command(job: JobPlan, here: str) -> str:
    """The job's script in the folder `here`, or on each node its own."""
    if _nodes(job) == 1:
        return f"sh {here}/{files.SCRIPT}"
    return f"sh -c {shlex.quote(_PART)} {here}"


# -- pyxis and apptainer ---------------------------------------------------------------------------------

_CONTAINER = r"""
own_environment() { @code@; }
@squash@
prepare() {
@fetch@
@give@
@parts@
}
"""


def pyxis(run: RunPlan, job: JobPlan, _attempt: int, root: str) -> str:
    """Slurm's plugin for enroot: each image once as a squashfs file below `root`. `srun` itself is told."""
    server = job.deployment
    image, served = str(job.image), str(server.image or job.image) if server else str(job.image)
    squash, fetch = squashing(image, root), '  run squash_image || fail "$(last)"\n'
    if served != image:
        squash += squashing(served, root, function="squash_server")
        fetch += '  run squash_server || fail "$(last)"\n'

    def inside(which: str, mounts: Sequence[Mapping[str, Any]], nodes: int, *more: str) -> str:
        bound = ",".join(_bound(mount, ",") for mount in mounts)
        words = [f"--container-image={squashed(which, root)}", "--no-container-mount-home", *more]
        return f"{_step(nodes)}{quoted([*words, *([f'--container-mounts={bound}'] if bound else [])])} "

    mounts, workdir = _mounts(run, job, root), f"--container-workdir={JOB_FOLDER}"
    serving = [dataclasses.asdict(mount) for mount in server.mounts] if server else []
    return fill(
        _CONTAINER, code=_code_inside(job), squash=squash, fetch=fetch, give=give(job), parts=_parts(job)
    ) + _processes(
        job,
        ask=_asking(job, step=True),
        command=inside(image, mounts, _nodes(job), workdir) + _command(job, JOB_FOLDER),
        server_command=inside(served, serving, _server_nodes(job)) + quoted(_server_words(job)),
    )


def apptainer(run: RunPlan, job: JobPlan, _attempt: int, root: str) -> str:
    """Images straight from their registry, by digest: apptainer keeps them in its own cache."""
    server = job.deployment

    def inside(image: str, mounts: Sequence[Mapping[str, Any]], gpus: bool, *more: str) -> str:
        ref = ImageRef.parse(image)
        bound = [word for mount in mounts for word in ("--bind", _bound(mount, ":,"))]
        nvidia = ["--nv"] if gpus else []
        words = ["apptainer", "exec", "--pid", "--no-home", "--writable-tmpfs", *nvidia, *bound, *more]
        return quoted([*words, f"docker://{ref.registry}/{ref.repository}@{ref.digest}"]) + " "

    def wants_gpus(resources: Resources) -> bool:
        return bool(resources.gpus or resources.gpu_ids)

    serving = [dataclasses.asdict(mount) for mount in server.mounts] if server else []
    job_words = inside(
        str(job.image), _mounts(run, job, root), wants_gpus(job.resources), "--pwd", JOB_FOLDER
    )
    server_words = (
        inside(str(server.image or job.image), serving, wants_gpus(server.resources)) if server else ""
    )
    fetch = '  command -v apptainer >/dev/null 2>&1 || fail "apptainer is not on this node"\n'
    return fill(
        _CONTAINER, code=_code_inside(job), squash="", fetch=fetch, give=give(job), parts=_parts(job)
    ) + _processes(
        job,
        ask=_asking(job, step=_nodes(job) > 1),
        command=_on_all_nodes(_nodes(job)) + job_words + _command(job, JOB_FOLDER),
        server_command=f"{_on_all_nodes(_server_nodes(job))}{server_words}{quoted(_server_words(job))}",
    )


def _mounts(run: RunPlan, job: JobPlan, root: str) -> list[dict[str, Any]]:
    given = docker_arguments.container(there(run), job, 1)["mounts"]
    return with_code_below(root, job, given)


def _code_inside(job: JobPlan) -> str:
    return f"export EVALDOCK_CODE={CODE}" if job.code else ":"


def _bound(mount: Mapping[str, Any], separators: str) -> str:
    """`SOURCE:TARGET[:ro]`, which has no quoting. Raises Refused for what it can't say."""
    for path in (str(mount["source"]), str(mount["target"])):
        if set(path) & {*separators, ":"}:
            raise Refused(f"the mount {path!r} has a character that separates mounts here")
    return f"{mount['source']}:{mount['target']}{':ro' if mount['read_only'] else ''}"
