"""Nodes for shell commands, with and without containers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launched import Place
from on_node import Node

Made = Callable[..., Node]


CONTAINED = [pytest.param(name, marks=pytest.mark.service(name)) for name in ("docker", "podman")]


@pytest.fixture(params=["none", *CONTAINED])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def node(runtime: str, tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    """A node for one shell command; `{out}` in it is the results folder as the job sees it."""
    contained = runtime != "none"
    image = request.getfixturevalue("whole_busybox") if contained else None
    if runtime == "podman":
        # As Docker's engine has it, which made it.
        request.getfixturevalue("podman").keep(image)

    def made(command: str, *, shell: tuple[str, ...] = ("sh",), **fields: Any) -> Node:
        root = tmp_path / "there"
        here = Place("docker" if contained else "process", image, "none" if contained else None)
        plan = here.run(tmp_path / "here", "")
        remote = f"{root}/{plan.run_id}"
        out = "/results" if contained else f"{remote}/{plan.jobs[0].directory}/artifacts"
        job = replace(plan.jobs[0], command=command.replace("{out}", out), **fields)
        return Node(run=replace(plan, remote=remote, jobs=(job,)), runtime=runtime, root=root, shell=shell)

    return made
