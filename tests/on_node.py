"""A job's folder as it lies on a node, and its node script really run there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launched import until
from launcher.jobs import JobPlan, RunPlan
from launcher.node.node_script import NODE_SCRIPT, node_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One attempt of a job on "another machine", whose folder is `folder`."""

    run: RunPlan
    runtime: str
    root: Path
    shell: tuple[str, ...] = ("sh",)

    @property
    def job(self) -> JobPlan:
        return self.run.jobs[0]

    @property
    def folder(self) -> Path:
        return Path(self.run.folder(self.job))

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def stage(self, attempt: int = 1, secrets: Mapping[str, str] | None = None) -> None:
        made = node_files(
            self.run, self.job, attempt, secrets or {}, runtime=self.runtime, root=str(self.root)
        )
        for name, (content, mode) in made.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)

    def start(self, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.shell, str(self.folder / NODE_SCRIPT)],
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def work(
        self,
        attempt: int = 1,
        secrets: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> int:
        self.stage(attempt, secrets)
        return self.start(environ=environ).wait(timeout=120)

    def exit(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / "exit.json").read_bytes())
        return read

    def log(self) -> str:
        return (self.folder / "logs" / "job.log").read_text()


def left_running(key: str) -> list[str]:
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    found = [line for line in listed.splitlines() if key in line]
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [entry.name] * (f"EVALDOCK_JOB={key}/".encode() in (entry / "environ").read_bytes())
    return found


def staying(folder: Path) -> list[str]:
    """Processes that work in the folder. One that a job's shell forgot could kill, later, what another start
    has under the same name by then."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def clean(one: Any) -> None:
    """Nothing of the job runs, nothing private lies about, no container is left."""
    until(lambda: not left_running(one.job.key), f"nothing of {one.job.key} runs", patience=20)
    until(lambda: not staying(one.folder), f"nobody stays in {one.folder}", patience=5)
    private = [path.name for path in one.folder.rglob(".*") if path.is_file()]
    assert not private, private
    if one.runtime in ("docker", "podman"):
        label = f"label=evaldock.key={one.job.key}"
        listed = subprocess.run(
            [one.runtime, "ps", "--all", "--quiet", "--filter", label],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert listed == ""
