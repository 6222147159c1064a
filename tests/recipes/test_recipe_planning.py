"""From a recipe to a plan: ways to launch, who wins over whom, what can't be planned."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import EvaldockError, InvalidInput, NotFound, Refused, UsageError
from launcher import parse
from launcher.backends.protocol import load
from launcher.jobs import JobPlan, RunPlan
from launcher.plans.plan_files import plan_from_data, plan_to_data
from launcher.plans.planning import Planned
from launcher.profiles import surroundings
from launcher.recipes import launching
from launcher.recipes.planning import plan_recipe
from launcher.recipes.runspec import Runspec, RunspecRun

Write = Callable[..., Path]
IMAGE = f"registry.example/team/image@sha256:{'1' * 64}"
SPEC = Runspec(script=Path("/p/a b.py"), config_dir=Path("/p/config"))


@pytest.fixture
def profiles(project: Path) -> Callable[[str], object]:
    """Writes the project's env.toml."""
    return (project / "env.toml").write_text


def planned(
    path: Path | str = "recipe.py",
    *overrides: str,
    config: str | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Planned:
    environ = environ if environ is not None else os.environ
    around = surroundings.of(profile, kind="recipes", run={"id": "i"}, environ=environ, dry_run=True)
    return plan_recipe(
        parse(path),
        config,
        overrides,
        around=around,
        environ=environ,
        run_id="0123456789abcdef",
        parent=Path("/runs"),
        dry_run=True,
    )


def job(*arguments: Any, **named: Any) -> JobPlan:
    (found,) = planned(*arguments, **named).plan.jobs
    return found


def problem(kind: type[EvaldockError], *arguments: Any, **named: Any) -> str:
    with pytest.raises(kind) as caught:
        planned(*arguments, **named)
    return str(caught.value)


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


def test_a_plan_survives_its_file(recipe: Write) -> None:
    recipe(
        "recipe", "[tool.runspec]", "[tool.runspec.env]", "A = 'b'", "[tool.runspec.run]", "launch = 'python'"
    )
    plan = planned().plan
    assert plan_from_data(plan_to_data(plan)) == plan
    assert isinstance(plan, RunPlan)
    (found,) = plan.jobs
    assert (found.kind, found.task, found.harness, found.directory) == (
        "recipe",
        "recipe",
        "recipe",
        "jobs/000-recipe",
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


SLURM = """
[cluster]
executor = "slurm"
output_dir = "/shared/runs"
hostname = "head"
nodes = 4
gpus_per_node = 4
image = "registry.example/profile:1"
mounts = ["/shared:/shared"]
env = { FROM = "profile", BOTH = "profile" }
"""


def test_who_wins(recipe: Write, project: Path, profiles: Callable[[str], object]) -> None:
    """A recipe under its profile, the profile under the configuration's own image, nodes and GPUs, and
    overrides above all."""
    profiles(SLURM)
    recipe(
        "recipe",
        "[tool.runspec]",
        f"image = '{IMAGE}'",
        "[tool.runspec.run]",
        "launch = 'python'",
        "[tool.runspec.resources]",
        "nodes = 1",
        "gpus_per_node = 1",
        "[tool.runspec.env]",
        "OWN = 'recipe'",
        "BOTH = 'recipe'",
    )
    found = job(profile="cluster")
    assert (found.resources.nodes, found.resources.gpus) == (4, 4)
    assert found.image == "registry.example/profile:1"
    assert dict(found.env) == {"OWN": "recipe", "FROM": "profile", "BOTH": "profile"}
    assert [mount.target for mount in found.mounts] == ["/shared"]
    (project / "config").mkdir()
    (project / "config" / "default.yaml").write_text(
        "execution: {nodes: 2, image: own:1, mounts: ['/data:/data']}\n"
    )
    (project / "config" / "field.yaml").write_text(
        "run: {env: {nodes: 3, container_image: field:1, gpus_per_node: 3}}\nsize: 1\n"
    )
    found = job(profile="cluster")
    assert (found.resources.nodes, found.resources.gpus, found.image) == (2, 4, "own:1")
    assert [mount.target for mount in found.mounts] == ["/data", "/shared"]
    found = job(profile="cluster", config="field")
    assert (found.resources.nodes, found.resources.gpus, found.image) == (3, 3, "field:1")
    assert found.config == {"size": 1}
    found = job(
        "recipe.py", "execution.nodes=7", "execution.container=mine:1", profile="cluster", config="field"
    )
    assert (found.resources.nodes, found.image) == (7, "mine:1")


def test_settings_as_the_field_has_them(recipe: Write, project: Path) -> None:
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    (project / "config").mkdir()
    (project / "config" / "default.yaml").write_text(
        "run:\n  env:\n    mounts: ['/a:/a', '/b:/b']\n    env: {A: 1, B: own}\n    partition: gpu\n"
        "execution: {mounts: ['/b:/b', '/c:/c'], env_vars: {B: lit:stronger}}\n"
    )
    found = planned()
    (one,) = found.plan.jobs
    assert [mount.source for mount in one.mounts] == ["/a", "/b", "/c"]
    assert dict(one.env) == {"A": "1", "B": "stronger"}
    (warning,) = found.warnings
    assert warning.startswith("run.env.partition (")
    assert warning.endswith("is not read here: say execution.partition, or put it into a profile")
    said = problem(InvalidInput, "recipe.py", "run.env.env.API_KEY=hunter2")
    assert "run.env.env.API_KEY" in said
    assert "by name only" in said
    assert "hunter2" not in said


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


def test_configurations_by_name_and_by_path(recipe: Write, project: Path) -> None:
    recipe("sub/recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    (project / "sub" / "config").mkdir()
    (project / "sub" / "config" / "small.yaml").write_text("size: small\n")
    (project / "other.yaml").write_text("size: other\n")
    path = "sub/recipe.py"
    assert job(path).config == {}
    assert job(path, config="small").config == {"size": "small"}
    assert job(path, config="other.yaml").config == {"size": "other"}
    assert job(path, config="./other").config == {"size": "other"}
    assert "no configuration 'smal'" in problem(NotFound, path, config="smal")
    assert "did you mean 'small'" in problem(NotFound, path, config="smal")
    recipe("stated", "[tool.runspec.config]", "default = 'missing'")
    assert "no folder" in problem(NotFound, "stated.py")


def test_secrets_are_named(recipe: Write) -> None:
    metadata = ["[tool.runspec]", "[tool.runspec.run]", "launch = 'python'", "[tool.runspec.env]"]
    recipe("recipe", *metadata, "HF_TOKEN = 'host:HF_TOKEN'", "PLAIN = 'a:b'", "OTHER = 'runtime:X'")
    found = job(environ={"HF_TOKEN": "hunter2"})
    assert [(s.name, s.source, s.where) for s in found.secrets] == [
        ("HF_TOKEN", "HF_TOKEN", "host"),
        ("OTHER", "X", "runtime"),
    ]
    assert dict(found.env) == {"PLAIN": "a:b"}
    assert "hunter2" not in str(found)
    assert "tool.runspec.env.HF_TOKEN: the variable HF_TOKEN is not set" in problem(InvalidInput, environ={})
    recipe("bad", *metadata, "API_TOKEN = 'hunter2'")
    said = problem(InvalidInput, "bad.py")
    assert "a secret stands here by name only: host:API_TOKEN or runtime:API_TOKEN" in said
    assert "hunter2" not in said


def test_keys_go_where_they_are_bound(recipe: Write, profiles: Callable[[str], object]) -> None:
    profiles('[here]\nexecutor = "process"\n[here.keys]\n"https://api.example/v1" = "API_KEY"\n')
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    environ = {"API_KEY": "hunter2"}
    url = "target.api_endpoint.url=https://api.example/v1/chat/completions"
    found = job("recipe.py", url, profile="here", environ=environ)
    assert [secret.name for secret in found.secrets] == ["API_KEY"]
    assert found.config["target"]["api_endpoint"]["api_key_name"] == "API_KEY"
    other = [
        "target.api_endpoint.url=https://elsewhere.example/v1",
        "target.api_endpoint.api_key_name=API_KEY",
    ]
    said = problem(Refused, "recipe.py", *other, profile="here", environ=environ)
    assert "API_KEY is bound to https://api.example/v1" in said
    beside = "execution.env_vars.API_KEY=host:API_KEY"
    assert "keys would go" in problem(Refused, "recipe.py", beside, profile="here", environ=environ)


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


def test_mistakes_in_how_it_is_run_are_told_with_their_place(recipe: Write) -> None:
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    said = problem(InvalidInput, "recipe.py", "execution.retires=2")
    assert (
        "execution.retires (override execution.retires=2): no such setting; did you mean 'retries'?" in said
    )
    assert "expected a mapping, got 3" in problem(InvalidInput, "recipe.py", "execution=3")


def test_a_python_that_will_not_do(recipe: Write) -> None:
    python = ("[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    recipe("recipe", "requires-python = '>=4'", *python)
    assert "it requires Python >=4, and evaldock runs with 3." in problem(InvalidInput)
    assert job("recipe.py", f"execution.image={IMAGE}").image == IMAGE
    recipe("wrong", "requires-python = '3'", *python)
    assert "line 2: requires-python: '3': '3' is no version specifier" in problem(InvalidInput, "wrong.py")


def test_a_run_lies_where_its_configuration_says(recipe: Write, project: Path) -> None:
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    spec, around = parse("recipe.py"), surroundings.of(None, kind="recipes", run={})
    common: dict[str, Any] = {"around": around, "environ": {}, "run_id": "r"}
    assert plan_recipe(spec, **common).plan.directory == str(project / "evaldock-runs" / "r")
    plan = plan_recipe(spec, None, ["execution.output_dir=there"], **common).plan
    assert (plan.directory, plan.remote) == (str(project / "there" / "r"), None)


def test_what_holds_for_a_run_of_tasks_holds_for_one_of_recipes(recipe: Write) -> None:
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    wanted = {"parallel": 3, "retries": 2, "on_failure": "stop-all", "deadline": 60.0, "queue_timeout": 9.0}
    plan = planned("recipe.py", *(f"execution.{name}={value}" for name, value in wanted.items())).plan
    assert {name: getattr(plan, name) for name in wanted} == wanted


def test_settings_of_weights_and_biases_reach_recipes(
    recipe: Write, profiles: Callable[[str], object]
) -> None:
    profiles('[wandb]\nproject = "nightly"\n')
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    assert dict(job().env) == {"WANDB_PROJECT": "nightly"}


def test_a_near_name_is_suggested(recipe: Write) -> None:
    recipe("sub/recipe", "[tool.runspec]")
    assert "no such recipe; did you mean 'recipe.py'?" in problem(NotFound, "sub/recpie.py")
