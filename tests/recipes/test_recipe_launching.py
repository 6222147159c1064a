"""Where and how a recipe is started: backends, nodes and GPUs, ways to launch, code that is shipped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, UsageError
from launcher import parse
from launcher.backends.protocol import load
from launcher.plans.plan_files import plan_to_data
from launcher.profiles import surroundings
from launcher.recipes import launching
from launcher.recipes.planning import plan_recipe
from launcher.recipes.runspec import Runspec, RunspecRun
from planned_recipes import IMAGE, SLURM, job, planned, problem

Write = Callable[..., Path]
SPEC = Runspec(script=Path("/p/a b.py"), config_dir=Path("/p/config"))


@pytest.mark.parametrize(
    ("run", "sizes", "expected"),
    [
        ({"launch": "python"}, {}, "python3 {s} --config {c}"),
        ({"launch": "direct"}, {}, "python3 {s} --config {c}"),
        ({"launch": "ray"}, {"nodes": 2}, "python3 {s} --config {c}"),
        ({}, {"gpus": 8}, "torchrun --standalone --nproc_per_node=8 {s} --config {c}"),
        ({}, {"gpus": 0}, "torchrun --standalone --nproc_per_node=1 {s} --config {c}"),
        ({}, {"gpus": -1}, "torchrun --standalone --nproc_per_node=gpu {s} --config {c}"),
        (
            {},
            {"gpus": 4, "nodes": 2},
            "torchrun --nnodes=2 --nproc_per_node=4 --rdzv_backend=c10d --rdzv_id=key-000 "
            '--rdzv_endpoint="$EVALDOCK_HEAD:29500" '
            "{s} --config {c}",
        ),
        ({"cmd": "uv run {script} -c {config} ${HOME} {other}"}, {}, "uv run {s} -c {c} ${HOME} {other}"),
        (
            {"launch": "python", "workdir": "a b"},
            {},
            "cd \"$EVALDOCK_CODE\"/'a b' && python3 {s} --config {c}",
        ),
        ({"launch": "python", "workdir": "/work"}, {}, "cd /work && python3 {s} --config {c}"),
    ],
)
def test_ways_to_launch(run: dict[str, str], sizes: dict[str, int], expected: str) -> None:
    spec = dataclasses.replace(SPEC, run=RunspecRun(**run))
    given = {"nodes": 1, "gpus": None, **sizes}
    command = launching.command(spec, "a b.py", key="key-000", nodes=given["nodes"] or 1, gpus=given["gpus"])
    parts = {"{s}": "\"$EVALDOCK_CODE\"/'a b.py'", "{c}": '"$EVALDOCK_CONFIG"'}
    for mark, part in parts.items():
        expected = expected.replace(mark, part)
    assert command == expected


def test_direct_starts_what_the_first_line_names() -> None:
    spec = dataclasses.replace(SPEC, run=RunspecRun(launch="direct"))
    command = launching.command(
        spec, "a.py", nodes=1, gpus=None, key="k", shebang="/usr/bin/env -S uv run --script"
    )
    # What follows the interpreter is one argument, as execve(2) has it.
    assert command == (
        '/usr/bin/env \'-S uv run --script\' "$EVALDOCK_CODE"/a.py --config "$EVALDOCK_CONFIG"'
    )


def test_the_backend_follows_from_the_image(recipe: Write) -> None:
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    assert planned().plan.backend == "process"
    found = planned("recipe.py", f"execution.image={IMAGE}")
    assert (found.plan.backend, found.plan.jobs[0].image, found.warnings) == ("docker", IMAGE, ())
    assert "docker runs containers, and no image is named" in problem(
        InvalidInput, "recipe.py", "execution.type=docker"
    )
    loose = planned("recipe.py", "execution.image=registry.example/a:1")
    assert loose.warnings == (
        "image registry.example/a:1 is not pinned: another run may get another; add @sha256:…",
    )
    assert "no backend 'dokcer'; did you mean 'docker'?" in problem(
        InvalidInput, "recipe.py", "execution.type=dokcer"
    )
    assert "can start what lies in a registry only" in problem(
        InvalidInput, "recipe.py", "execution.type=docker", "execution.image=oci:folder"
    )


def test_other_names_of_the_backend(recipe: Write) -> None:
    recipe("recipe", "[tool.runspec]", f"image = '{IMAGE}'", "[tool.runspec.run]", "launch = 'python'")
    assert planned("recipe.py", "execution.backend=process").plan.backend == "process"
    url = "execution.dashboard_url=http://head:8265"
    assert planned("recipe.py", "execution.execution_backend=kubernetes_ray", url).plan.backend == "ray"
    found = planned("recipe.py", "backend=mine")
    assert (found.plan.backend, found.plan.jobs[0].config) == ("docker", {"backend": "mine"})


def test_resources_are_asked_for_where_somebody_states_them(recipe: Write) -> None:
    recipe("plain", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    assert job("plain.py").resources.gpus is None
    assert job("plain.py", "execution.gpus_per_node=2").resources.gpus == 2
    recipe("eight", "[tool.runspec]")
    found = job("eight.py")
    assert (found.resources.gpus, "--nproc_per_node=8" in found.command) == (8, True)
    found = job("eight.py", "execution.gpus=0")
    assert (found.resources.gpus, "--nproc_per_node=1" in found.command) == (None, True)
    recipe("all", "[tool.runspec.resources]", "gpus_per_node = 'gpu'")
    found = job("all.py")
    assert (found.resources.gpus, "--nproc_per_node=gpu" in found.command) == (-1, True)
    for wrong in ("nodes=0", "nodes=x", "gpus_per_node=-2", "image=3"):
        assert f"execution.{wrong.partition('=')[0]} (override execution.{wrong})" in problem(
            InvalidInput, "plain.py", f"execution.{wrong}"
        )


def test_several_nodes_are_for_clusters(recipe: Write) -> None:
    recipe("recipe", "[tool.runspec.resources]", "nodes = 2", "[tool.runspec.run]", "launch = 'ray'")
    assert "it asks for 2 nodes, and process has one: execution.nodes=1 runs it on that" in problem(
        InvalidInput
    )
    assert job("recipe.py", "execution.nodes=1").resources.nodes == 1


ELSEWHERE = {
    "slurm by ssh": 'executor = "slurm"\noutput_dir = "/shared/runs"\nhostname = "head"',
    "slurm by ssh, no containers": 'executor = "slurm"\noutput_dir = "/shared"\nhostname = "head"\n'
    'container_runtime = "none"',
    "ray": 'executor = "ray"\ndashboard_url = "http://head:8265"',
    "ray with shared storage": 'executor = "ray"\ndashboard_url = "http://head:8265"\nshared_dir = "/shared"',
    "lepton": 'executor = "lepton"\nresource_shape = "cpu.small"\nnode_group = "group"',
}


@pytest.mark.parametrize("settings", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_no_path_of_this_machine_is_sent_elsewhere(
    recipe: Write, project: Path, profiles: Callable[[str], object], settings: str
) -> None:
    profiles(f"[there]\n{settings}\n")
    recipe(
        "sub/recipe",
        "dependencies = ['pyyaml']",
        "[tool.runspec]",
        f"image = '{IMAGE}'",
        "setup = 'echo here'",
        "[tool.runspec.run]",
        "launch = 'python'",
    )
    plan = planned("sub/recipe.py", "size=1", profile="there").plan
    (found,) = plan.jobs
    sent = json.dumps([dict(load(plan.backend).plan(plan, found)), plan_to_data(plan)["jobs"]], default=str)
    for path in (project, Path.home(), Path(launching.__file__).parents[2]):
        assert str(path) not in sent
    assert found.command.startswith('python3 "$EVALDOCK_CODE"/sub/recipe.py')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], None),
        (["execution.container_runtime=none"], None),
        (["execution.nodes=1", "execution.gpus_per_node=gpu"], "slurm wants to know how many"),
    ],
)
def test_torchrun_on_a_cluster(
    recipe: Write, profiles: Callable[[str], object], words: list[str], message: str | None
) -> None:
    profiles(SLURM)
    recipe("recipe", "[tool.runspec]")
    if message is None:
        found = job("recipe.py", *words, profile="cluster")
        assert "torchrun --nnodes=4 --nproc_per_node=4" in found.command
        assert found.on_every_node
    else:
        assert message in problem(InvalidInput, "recipe.py", *words, profile="cluster")


def test_what_is_shipped(recipe: Write, project: Path, tmp_path: Path) -> None:
    path = recipe("sub/recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    (project / "data.txt").write_text("1")
    (tree,) = planned(path).code
    assert [name for name, _ in tree.files] == ["data.txt", "pyproject.toml", "sub/recipe.py"]
    assert '"$EVALDOCK_CODE"/sub/recipe.py' in job(path).command
    alone = tmp_path / "alone.py"
    alone.write_text(path.read_text())
    spec, around = parse(path), surroundings.of(None, kind="recipes", run={})
    common: dict[str, Any] = {"around": around, "environ": {}, "run_id": "r"}
    (tree,) = plan_recipe(spec, code="script", **common).code
    assert [name for name, _ in tree.files] == ["recipe.py"]
    (tree,) = plan_recipe(spec, code=str(project / "sub"), **common).code
    assert [name for name, _ in tree.files] == ["recipe.py"]
    with pytest.raises(UsageError, match="--code names a folder that holds the recipe"):
        plan_recipe(spec, code=str(tmp_path / "elsewhere"), **common)


def test_a_python_that_will_not_do(recipe: Write) -> None:
    python = ("[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    recipe("recipe", "requires-python = '>=4'", *python)
    assert "it requires Python >=4, and evaldock runs with 3." in problem(InvalidInput)
    assert job("recipe.py", f"execution.image={IMAGE}").image == IMAGE
    recipe("wrong", "requires-python = '3'", *python)
    assert "line 2: requires-python: '3': '3' is no version specifier" in problem(InvalidInput, "wrong.py")
