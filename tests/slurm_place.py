"""Slurm as places of the contract suite: by SSH without containers, and on the head node with Docker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import Place, Unheard, until
from launcher.jobs import JobHandle
from services.engine import Engine
from services.slurm import Slurm
from services.sshd import Sshd


def slurm_place(request: pytest.FixtureRequest, **settings: Any) -> Place:
    """The cluster's head node is another machine, which shares its folder with the nodes."""
    slurm: Slurm = request.getfixturevalue("slurm")
    sshd: Sshd = request.getfixturevalue("sshd")
    root = Path(request.getfixturevalue("tmp_path")) / "cluster"
    (root / ".evaldock").mkdir(parents=True, exist_ok=True)
    # Making a harness's environment takes longer than using it: all tests of the run have one.
    environments = request.getfixturevalue("shared").folder / "node-environments"
    environments.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (root / ".evaldock" / "environments").symlink_to(environments)
    given = {"hostname": "cluster", "output_dir": str(root)}

    @contextmanager
    def mute(handle: JobHandle) -> Iterator[Unheard]:
        sshd.introduce(Path.home(), "mute", key=sshd.mute_key)
        yield {}, replace(handle, settings={**handle.settings, "hostname": "mute"})

    return replace(_place(slurm, given, "none", str(root), **settings), mute=mute)


def slurm_docker_place(request: pytest.FixtureRequest) -> Place:
    """The launcher runs on the head node."""
    slurm: Slurm = request.getfixturevalue("slurm")
    engine: Engine = request.getfixturevalue("docker_engine")
    image: str = request.getfixturevalue("whole_busybox")

    def killed(handle: JobHandle) -> None:
        containers = engine.run("ps", "-q", "--filter", f"label=evaldock.key={handle.key}")
        engine.run("kill", "--signal=KILL", *containers.split())

    @contextmanager
    def mute(handle: JobHandle) -> Iterator[Unheard]:
        folder: Path = request.getfixturevalue("tmp_path") / "mute"
        folder.mkdir()
        (folder / "sh").write_text("#!/bin/sh\n")
        (folder / "sh").chmod(0o755)
        yield {"PATH": str(folder)}, handle

    place = _place(slurm, {}, "docker", None)
    return replace(place, image=image, network="none", contained=True, killed=killed, mute=mute)


def _place(slurm: Slurm, given: Mapping[str, Any], runtime: str, remote: str | None, **more: Any) -> Place:
    # A partition of this process's own, so that it can be closed without anybody's noticing.
    partition = f"w{os.getpid()}"
    with suppress(RuntimeError):  # made by an earlier test
        slurm.run("scontrol", "create", f"PartitionName={partition}", "Nodes=n1,n2", "MaxTime=INFINITE")
    execution = {**given, "partition": partition, "container_runtime": runtime, **more}
    settings = {name: value for name, value in execution.items() if name != "output_dir"}

    def lost(handle: JobHandle) -> None:
        """It ends without a word, and Slurm forgets it."""
        _kill(handle, "")
        until(lambda: not slurm.run("squeue", "-h", "--states=all", "-n", _name(handle)), "Slurm forgets it")
        slurm.forget(handle.native_id)

    def killed(handle: JobHandle) -> None:
        _kill(handle, "run.sh")

    def cut(handle: JobHandle) -> Unheard:
        if "hostname" in settings:
            return {}, replace(handle, settings={**settings, "port": 1})
        # A configuration that leads nowhere is asked for in the network, for minutes.
        folder = slurm.conf.parent / "unreachable"
        folder.mkdir(exist_ok=True)
        for name in ("squeue", "sacct"):
            command = folder / name
            command.write_text(
                "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller'\nexit 1\n"
            )
            command.chmod(0o755)
        return {}, replace(handle, settings={**settings, "slurm_bin": str(folder)})

    def native(handle: JobHandle) -> str:
        shown = slurm.run("scontrol", "show", "job", handle.native_id)
        return shown + slurm.run("scontrol", "write", "batch_script", handle.native_id, "-")

    @contextmanager
    def busy() -> Iterator[None]:
        slurm.run("scontrol", "update", f"PartitionName={partition}", "State=DOWN")
        try:
            yield
        finally:
            slurm.run("scontrol", "update", f"PartitionName={partition}", "State=UP")

    return Place(
        "slurm",
        lost=lost,
        killed=killed,
        cut=cut,
        remote=remote,
        settings=settings,
        execution=execution,
        native=native,
        busy=busy,
        held=(".secrets.slurm",),
    )


def _name(handle: JobHandle) -> str:
    return f"evaldock-{handle.key}-{handle.attempt}"


def _kill(handle: JobHandle, script: str) -> None:
    """The shells of the job that run `script`; all of its processes for an empty one, the guard first: it
    would tell how the others ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            there = str((entry / "cwd").readlink())
            if there.startswith(handle.directory) and any(word.endswith(script) for word in words[1:2]):
                found.append(("guard" not in words, int(entry.name)))
    for _, pid in sorted(found):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
