"""Whether a cluster's head node is reached, its Slurm would take a job, and the run's folder is where it
should be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from catalog.errors import EvaldockError
from catalog.nearest import did_you_mean
from launcher.backends.slurm_hosts import host_of
from launcher.checks.answers import LITTLE, Check, Subject, fail, failed, ok, warn
from launcher.configuration.slurm import clock
from launcher.node.node_script import PATIENCE

NEEDED = ("sbatch", "squeue", "scancel", "sha256sum", "tar", "xargs")
# File systems that no other machine sees, as stat(1) calls them.
_OWN = ("ext2/ext3", "xfs", "btrfs", "tmpfs", "overlayfs", "zfs", "ramfs")
_RUNTIMES = {"apptainer": "apptainer", "docker": "docker", "podman": "podman"}
# Their containers are no processes of the job: Slurm ends it without them.
_ENGINES = ("docker", "podman")

# Each line begins with what it tells; what commands print besides is not taken for that.
_LOOK = """\
{path}
for each in {commands}; do
  command -v "$each" >/dev/null 2>&1 && echo "has $each"
done
echo "version $(sinfo --version 2>&1 | head -n 1)"
squeue --noheader --user="$(id -un)" --format=%A >/dev/null 2>&1 && echo "controller answers"
sinfo --noheader --format=%R 2>/dev/null | sort -u | sed 's/^/partition /'
sacct -X -n -P -S now -o JobID >/dev/null 2>&1 && echo "accounting answers"
sacctmgr -n -P show assoc "user=$(id -un)" format=Account 2>/dev/null | sort -u | sed 's/^/account /'
scontrol show config 2>/dev/null | awk '$1 == "KillWait" {{ print "killwait " $3 }}'
srun --help 2>/dev/null | grep -q -- --container-image && echo "pyxis is there"
if [ -n {folder} ]; then
  if mkdir -p {folder} 2>/dev/null && true 2>/dev/null >{folder}/.evaldock-doctor; then
    rm -f {folder}/.evaldock-doctor
    echo "folder $(stat -f -c %T {folder} 2>/dev/null)"
    echo "free $(df -Pk {folder} | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
  fi
fi
sbatch --test-only {flags} --wrap=true 2>&1 | sed 's/^/test /'
"""


def checks(subject: Subject) -> Iterator[Check]:
    settings = subject.settings
    name = settings.get("hostname")
    try:
        host = host_of(settings)
        host.ready()
    except EvaldockError as error:
        yield failed("connection", error)
        return
    yield ok("connection", f"{name}, by SSH" if name else "this machine is the head node")
    folder = subject.execution.get("output_dir") if name else None
    ran = host.script(_script(settings, folder))
    facts: dict[str, list[str]] = {}
    for line in ran.out.decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        facts.setdefault(word, []).append(rest.strip())
    yield from _slurm(facts, host.name)
    if "controller" in facts:
        yield from _would_take(facts, settings)
    if name:
        yield from _folder(facts, folder)
    runtime = str(settings.get("container_runtime"))
    yield _runtime(facts, runtime, host.name)
    if runtime in _ENGINES:
        yield from _killwait(facts)


def _script(settings: Mapping[str, Any], folder: str | None) -> str:
    path = settings.get("slurm_bin")
    return _LOOK.format(
        path=f"PATH={shlex.quote(str(path))}:$PATH" if path else "",
        commands=" ".join((*NEEDED, *_RUNTIMES.values())),
        folder=shlex.quote(folder or ""),
        flags=shlex.join(_flags(settings)),
    )


def _flags(settings: Mapping[str, Any]) -> list[str]:
    given = {
        "account": settings.get("account"),
        "partition": settings.get("partition"),
        "qos": settings.get("qos"),
        "nodes": settings.get("nodes"),
        "gpus-per-node": settings.get("gpus_per_node"),
        "cpus-per-task": settings.get("cpus_per_task"),
        "mem": _with(settings.get("memory"), lambda size: f"{size >> 20}M"),
        "time": _with(settings.get("walltime"), clock),
    }
    own = [f"--{name}={value}" for name, value in given.items() if value]
    return [*own, *settings.get("sbatch_args", ())]


def _with(value: Any, text: Callable[[int], str]) -> Any:
    """A number as Slurm writes it; text that nobody has read yet stays."""
    return text(value) if isinstance(value, int) else value


def _slurm(facts: Mapping[str, Sequence[str]], host: str) -> Iterator[Check]:
    missing = [each for each in NEEDED if each not in facts.get("has", ())]
    if missing:
        yield fail(
            "commands",
            f"{host} has no {', '.join(missing)}",
            "name the folder of Slurm's commands in execution.slurm_bin, and log in to the head node itself",
        )
        return
    yield ok("commands", (facts.get("version") or [""])[0])
    if "controller" in facts:
        yield ok("controller", "it answers")
    else:
        yield fail("controller", "Slurm's controller does not answer", "scontrol ping tells more there")
    if "accounting" in facts:
        yield ok("accounting", "sacct answers")
    else:
        yield warn(
            "accounting",
            "sacct does not answer: a job that ended long ago is known by what it left in its folder alone",
            "ask the cluster's owner for slurmdbd",
        )


def _would_take(facts: Mapping[str, Sequence[str]], settings: Mapping[str, Any]) -> Iterator[Check]:
    partition, there = settings.get("partition"), facts.get("partition", ())
    if partition and partition not in there:
        near = did_you_mean(str(partition), there)
        known = ", ".join(there) or "none"
        yield fail("partition", f"there is no {partition!r}{near}", f"execution.partition: there are {known}")
    elif partition:
        yield ok("partition", str(partition))
    account = settings.get("account")
    accounts = [each for each in facts.get("account", ()) if each]
    if account and accounts and account not in accounts:
        yield fail(
            "account", f"you are not in {account!r}", f"execution.account: yours are {', '.join(accounts)}"
        )
    elif account:
        yield ok("account", str(account))
    said = [line for line in facts.get("test", ()) if line]
    if any("to start at" in line for line in said):
        yield ok("a job", "Slurm would take one as it is configured")
    else:
        last = said[-1].removeprefix("sbatch: error: ") if said else "sbatch said nothing"
        yield fail(
            "a job", f"Slurm would not take one: {last}", "see execution in the configuration or profile"
        )


def _folder(facts: Mapping[str, Sequence[str]], folder: str | None) -> Iterator[Check]:
    if folder is None:
        yield fail(
            "output_dir", "no folder is named for runs", "set execution.output_dir to one that nodes share"
        )
        return
    kind = facts.get("folder")
    if kind is None:
        yield fail("output_dir", f"nothing can be written in {folder}", "set execution.output_dir to another")
        return
    free = int((facts.get("free") or ["0"])[0] or 0) << 10
    said = f"{folder} ({kind[0]}), {free >> 30} GiB free"
    if free < LITTLE:
        yield warn("output_dir", said, "make room, or take another folder")
    elif kind[0] in _OWN:
        yield warn("output_dir", f"{said}: nodes may not see it", "take a folder that all nodes share")
    else:
        yield ok("output_dir", said)


def _runtime(facts: Mapping[str, Sequence[str]], runtime: str, host: str) -> Check:
    if runtime == "none":
        return ok("containers", "none: harnesses are installed on the nodes")
    there = "pyxis" in facts if runtime == "pyxis" else _RUNTIMES.get(runtime) in facts.get("has", ())
    if there:
        return ok("containers", f"{runtime} is there")
    other = "execution.container_runtime: apptainer, docker, podman, pyxis or none"
    if runtime == "pyxis":
        return fail("containers", "srun knows no --container-image, so pyxis is not there", other)
    return warn("containers", f"{host} has no {runtime}; nodes may have it all the same", other)


def _killwait(facts: Mapping[str, Sequence[str]]) -> Iterator[Check]:
    """The seconds between Slurm's request to stop and its kill, which the container's end has to fit into."""
    said = (facts.get("killwait") or [""])[0]
    if not said.isdecimal():
        return
    if int(said) < PATIENCE:
        yield warn(
            "KillWait",
            f"Slurm kills a job {said} seconds after it asked it to stop; the job's container takes up to "
            f"{PATIENCE}, and may stay on its node",
            f"ask the cluster's owner for KillWait={PATIENCE} or more",
        )
    else:
        yield ok("KillWait", f"{said} seconds from Slurm's request to stop to its kill")
