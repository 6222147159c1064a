"""A Slurm cluster of the test run's own on loopback, with accounting: munge, MariaDB, slurmdbd, slurmctld and
one slurmd for each node. Ports, folders, the cluster's name and munge's socket are the run's own, so that two
runs on one machine don't meet. Faults are quick: what takes minutes on a real cluster takes seconds here.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from services.cluster_runtimes import build_pyxis
from services.install import need, program
from services.processes import free_ports, start, tail, wait_until
from services.required import Unavailable
from services.shared import Shared

PACKAGES = ["slurm-wlm", "slurmdbd", "mariadb-server", "munge"]
# Of the partitions `high`, `low` and `scavenge` the first takes the node from the others, whose jobs are
# queued again and cancelled. `fragile` and `pair` are for tests that kill nodes and their daemons.
NODES = ("n1", "n2", "n3", "n4", "n5", "n6")
GPU_NODE = "n2"

_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
# A job that is queued again waits as long as the credential of its last start holds: 5 s at least.
AuthInfo=socket={munge},cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# The nodes are what is written here, whatever machine this is.
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=6
HealthCheckInterval=0
InactiveLimit=0
KillWait=10
MinJobAge=2
BatchStartTimeout=30
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PlugStackConfig={folder}/plugstack.conf
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={munge}
JobAcctGatherType=jobacct_gather/none
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE PreemptMode=OFF
PartitionName=fragile Nodes=n3 PreemptMode=OFF
PartitionName=pair Nodes=n5,n6 PreemptMode=OFF
PartitionName=high Nodes=n4 PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=n4 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=scavenge Nodes=n4 PriorityTier=1 PreemptMode=CANCEL
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=4000"
_DBD = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=root
StorageLoc=slurm
"""


# A node is a process namespace: its jobs end with it, and none outlives the test run. The first shell passes
# the end on, which unshare by itself would not; the inner one collects what has ended, and outlives a daemon
# that was killed until it is to start again.
_MACHINE = """
pid=$1
shift
unshare --pid --fork --kill-child --mount-proc sh -c '
  again=$1
  shift
  while "$@" & wait "$!"; [ "$?" -eq 137 ]; do
    until rm "$again" 2>/dev/null; do sleep 0.1; done
  done
' sh "$pid.again" "$@" &
echo "$!" >"$pid"
trap 'kill -KILL "$!"' TERM
wait "$!"
"""


@dataclass(frozen=True, slots=True)
class Slurm:
    """`conf` is what SLURM_CONF takes; `slurm.run("sinfo")` gives what a command printed. `sql` is the
    accounting database's socket. `without_pyxis` says why its stand-in is missing."""

    conf: Path
    cluster: str
    sql: Path
    owner: int
    without_pyxis: str | None = None

    @property
    def environ(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.conf)}

    def run(self, *command: str, timeout: float = 60) -> str:
        done = subprocess.run(
            command,
            env={**os.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr or done.stdout}")
        return done.stdout

    def start_node(self, name: str) -> subprocess.Popen[bytes]:
        """The node's daemon, beside those of the others."""
        folder = self.conf.parent.parent / f"slurm-{name}"
        folder.mkdir(exist_ok=True)
        daemon = program("slurmd")
        assert daemon is not None, "the cluster has it"
        command = ["sh", "-c", _MACHINE, "sh", str(folder / "machine.pid"), str(daemon), "-D", "-N", name]
        return _daemon(folder, self.owner, command, self.environ)

    def is_idle(self, node: str) -> bool:
        # Asked for one node alone, slurmctld may tell of what was reserved there a while ago.
        lines = self.run("sinfo", "-h", "-N", "-o", "%N %T").splitlines()
        return {state for name, state in map(str.split, lines) if name == node} == {"idle"}

    def kill_node(self, name: str) -> None:
        """Everything on it ends at once, as when its power fails."""
        machine = int((self.conf.parent.parent / f"slurm-{name}" / "machine.pid").read_text())
        os.kill(machine, signal.SIGKILL)

    def kill_daemon(self, name: str) -> None:
        """The node's daemon alone: what it has started lives on."""
        (daemon,) = self.daemons(name)
        os.kill(daemon, signal.SIGKILL)
        while self.daemons(name):
            time.sleep(0.05)

    def start_daemon(self, name: str) -> None:
        """The one that was killed, once more."""
        (self.conf.parent.parent / f"slurm-{name}" / "machine.pid.again").touch()

    def daemons(self, name: str) -> list[int]:
        """The node's daemon, if it lives. A test run beside this one has daemons of the same name."""
        conf, found = f"SLURM_CONF={self.conf}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                named = words[0].endswith(b"slurmd") and words[1:4] == [b"-D", b"-N", name.encode()]
                if named and conf in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def forget(self, job: str) -> None:
        """Takes a job that has ended out of the accounting database."""
        table = f"{self.cluster}_job_table"
        command = [
            "mariadb",
            f"--socket={self.sql}",
            "slurm",
            "-e",
            f"DELETE FROM {table} WHERE id_job={job}",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def start_slurm(shared: Shared, folder: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        raise Unavailable("starting a Slurm cluster needs root")
    for name in ("slurmctld", "slurmdbd", "mariadbd", "munged", "slurmd", "sacctmgr"):
        need(shared, name, packages=PACKAGES)
    ctld_port, dbd_port, sql_port, *node_ports = free_ports(3 + len(NODES))
    given: dict[str, Any] = {
        "folder": folder,
        "cluster": f"evaldock{shared.owner}",
        "host": socket.gethostname().partition(".")[0],
        "munge": folder / "munge.socket",
        "ctld_port": ctld_port,
        "dbd_port": dbd_port,
        "sql_port": sql_port,
    }
    gpus = _make_gpus(folder)
    nodes = [
        _NODE.format(name=name, host=given["host"], port=port, cpus=64 if name == "n2" else 8)
        + (f" Gres=gpu:{gpus}" if name == GPU_NODE else "")
        for name, port in zip(NODES, node_ports, strict=True)
    ]
    conf, dbd = folder / "slurm.conf", folder / "slurmdbd.conf"
    conf.write_text(_CONF.format(**given, nodes="\n".join(nodes)))
    dbd.write_text(_DBD.format(**given))
    dbd.chmod(0o600)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    plugins, without_pyxis = "", None
    try:
        plugins = build_pyxis(shared, folder)
    except Unavailable as error:
        without_pyxis = str(error)
    (folder / "plugstack.conf").write_text(plugins)
    slurm = Slurm(conf, given["cluster"], folder / "sql.socket", shared.owner)
    _start_munge(shared, folder)
    _start_database(shared, folder, given["sql_port"])
    _start_daemon(shared, slurm, "slurmdbd", ["sacctmgr", "-n", "list", "cluster"])
    slurm.run("sacctmgr", "-i", "add", "cluster", slurm.cluster)
    _start_daemon(shared, slurm, "slurmctld", ["sinfo"])
    for name, daemon in [(name, slurm.start_node(name)) for name in NODES]:
        log = shared.folder / f"slurm-{name}" / "log"
        _wait(partial(slurm.is_idle, name), daemon, log, f"the node {name}")
    return {
        "conf": str(conf),
        "cluster": slurm.cluster,
        "sql": str(slurm.sql),
        "owner": shared.owner,
        "without_pyxis": without_pyxis,
    }


def _make_gpus(folder: Path) -> int:
    """Devices that Slurm hands out as GPUs, and how many: of a GPU they have a device file's number only."""
    for number in range(4):
        os.mknod(folder / f"gpu{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (folder / "gres.conf").write_text(f"NodeName={GPU_NODE} Name=gpu File={folder}/gpu[0-3]\n")
    return 4


def _start_munge(shared: Shared, folder: Path) -> None:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    own = _folder(shared, "munge")
    files = [f"--{name}-file={own / name}" for name in ("log", "pid", "seed")]
    given = ["--foreground", "--force", "--num-threads=4", f"--key-file={key}", *files]
    supervisor = _daemon(own, shared.owner, ["munged", f"--socket={folder / 'munge.socket'}", *given], {})
    _wait((folder / "munge.socket").exists, supervisor, own / "log", "munged")


def _start_database(shared: Shared, folder: Path, port: int) -> None:
    own = _folder(shared, "sql")
    data = own / "data"
    made = subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    if made.returncode:
        raise Unavailable(f"the accounting database can't be made: {made.stderr[-600:]}")
    sock = folder / "sql.socket"
    given = [f"--datadir={data}", f"--socket={sock}", f"--pid-file={own / 'pid'}", f"--port={port}"]
    # Nothing in it outlives the run: not a write needs to reach the disk.
    quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--skip-log-bin"]
    rights = ["--user=root", "--skip-grant-tables", "--bind-address=127.0.0.1"]
    command = ["mariadbd", "--no-defaults", *given, *quick, *rights]
    supervisor = _daemon(own, shared.owner, command, {})
    _wait(lambda: _connects(port), supervisor, own / "log", "mariadbd")


def _start_daemon(shared: Shared, slurm: Slurm, name: str, ask: Sequence[str]) -> None:
    own = _folder(shared, name)
    supervisor = _daemon(own, shared.owner, [name, "-D"], slurm.environ)

    def ready() -> bool:
        try:
            slurm.run(*ask)
        except RuntimeError:
            return False
        return True

    _wait(ready, supervisor, own / "log", name)


def _folder(shared: Shared, name: str) -> Path:
    folder = shared.folder / f"slurm-{name}"
    folder.mkdir()
    return folder


def _daemon(
    folder: Path, owner: int, command: Sequence[str], environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    found = program(command[0])
    if found is None:
        raise Unavailable(f"{command[0]} is not installed")
    given = [f"{name}={value}" for name, value in environ.items()]
    return start(["env", *given, str(found), *command[1:]], folder=folder, owner=owner)


def _wait(ready: Callable[[], bool], supervisor: subprocess.Popen[bytes], log: Path, what: str) -> None:
    failed = wait_until(ready, supervisor=supervisor, seconds=60)
    if failed:
        raise Unavailable(f"{what} didn't come up: {failed}\n{tail(log)}")


def _connects(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
