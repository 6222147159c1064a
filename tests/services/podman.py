"""Podman with settings and folders of the test run's own, as a command that tests have on their PATH.

Each node of the test cluster has a storage of its own, as machines do; all of them see what `Podman.keep` has
pulled. Containers run with `--network=host` or `none`. runc starts them: Debian's crun can't where control
groups of both versions are mounted.
"""

from __future__ import annotations

import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.install import need
from services.processes import start
from services.required import Unavailable
from services.shared import Shared

# Without CAP_SYS_RESOURCE no limit can be above the present one, as podman's defaults are.
_SETTINGS = """\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""
# The registry speaks plain http.
_REGISTRIES = """\
unqualified-search-registries = []
[[registry]]
location = "{registry}"
insecure = true
"""
_COMMAND = """\
#!/bin/sh
export CONTAINERS_CONF={folder}/containers.conf CONTAINERS_REGISTRIES_CONF={folder}/registries.conf
all={storage}
# podman takes no more than 50 characters for the first one.
own=$all/${{SLURMD_NODENAME:-me}}
podman() {{ exec {program} --runroot "$own/r" --tmpdir "$own/tmp" --storage-driver {driver} "$@"; }}
case $0 in
*/podman-keep) own=$all/kept; podman --root "$all/kept" pull --quiet "$@" ;;
*) podman --root "$own/storage" --storage-opt {driver}.imagestore="$all/kept" "$@" ;;
esac
"""
# No container outlives the test run.
_SWEEPER = """
trap '"$0" rm --force --all; exit' TERM
while :; do sleep 1 & wait "$!"; done
"""


@dataclass(frozen=True, slots=True)
class Podman:
    """`path` is the folder of the command, `podman.run("ps")` gives what it printed."""

    path: Path

    def run(self, *arguments: str, timeout: float = 240) -> str:
        return self._run("podman", *arguments, timeout=timeout)

    def keep(self, image: str) -> None:
        """Pulls what takes long, for all nodes."""
        self._run("podman-keep", image, timeout=600)

    def _run(self, name: str, *arguments: str, timeout: float) -> str:
        done = subprocess.run(
            [str(self.path / name), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name} {' '.join(arguments)}\n{done.stderr}")
        return done.stdout


def start_podman(shared: Shared, folder: Path, registry: str) -> dict[str, Any]:
    """`{"path": "/…/bin"}`."""
    if os.geteuid() != 0:
        raise Unavailable("running podman apart from what is there needs root")
    need(shared, "runc", packages=["runc"])
    program = need(shared, "podman", packages=["podman"])
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    (folder / "containers.conf").write_text(_SETTINGS.format(files=files, processes=4096))
    (folder / "registries.conf").write_text(_REGISTRIES.format(registry=registry))
    command = folder / "bin" / "podman"
    command.parent.mkdir()
    command.with_name("podman-keep").symlink_to(command)
    trouble = ""
    for driver in ("overlay", "vfs"):  # overlay can't stand on another overlay file system
        storage = folder / driver[0]
        command.write_text(_COMMAND.format(folder=folder, storage=storage, program=program, driver=driver))
        command.chmod(0o755)
        (storage / "kept").mkdir(parents=True)
        try:
            _try(shared, Podman(command.parent), folder / f"root-{driver}")
        except RuntimeError as error:
            trouble += f"\n{driver}: {error}"
            continue
        start(["sh", "-c", _SWEEPER, str(command)], folder=folder, owner=shared.owner)
        return {"path": str(command.parent)}
    raise Unavailable(f"podman starts no container here: {trouble}")


def _try(shared: Shared, podman: Podman, root: Path) -> None:
    """A container of nothing but busybox really runs."""
    busybox = need(shared, "busybox", packages=["busybox-static"])
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "true").write_bytes(busybox.read_bytes())
    (root / "bin" / "true").chmod(0o755)
    podman.run("run", "--rm", "--network=none", "--rootfs", str(root), "/bin/true", timeout=60)
