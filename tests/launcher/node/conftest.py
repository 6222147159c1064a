"""A job's folder as it lies on a node, and its node script really run there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from launched import Place
from launcher.jobs import JobPlan, RunPlan
from launcher.node_script import NODE_SCRIPT, node_files


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


Made = Callable[..., Node]


@pytest.fixture(params=["none", pytest.param("docker", marks=pytest.mark.service("docker"))])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def node(runtime: str, tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    """A node for one shell command; `{out}` in it is the results folder as the job sees it."""
    contained = runtime != "none"
    image = request.getfixturevalue("whole_busybox") if contained else None
    if contained:
        request.getfixturevalue("docker_engine")

    def made(command: str, *, shell: tuple[str, ...] = ("sh",), **fields: Any) -> Node:
        root = tmp_path / "there"
        here = Place("docker" if contained else "process", image, "none" if contained else None)
        plan = here.run(tmp_path / "here", "")
        remote = f"{root}/{plan.run_id}"
        out = "/results" if contained else f"{remote}/{plan.jobs[0].directory}/artifacts"
        job = replace(plan.jobs[0], command=command.replace("{out}", out), **fields)
        return Node(run=replace(plan, remote=remote, jobs=(job,)), runtime=runtime, root=root, shell=shell)

    return made
