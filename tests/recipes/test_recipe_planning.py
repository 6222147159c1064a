"""From a recipe to a plan: who wins over whom, whose keys go where, what can't be planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput, NotFound, Refused
from launcher import parse
from launcher.jobs import RunPlan
from launcher.plans.plan_files import plan_from_data, plan_to_data
from launcher.profiles import surroundings
from launcher.recipes.planning import plan_recipe
from planned_recipes import IMAGE, SLURM, job, planned, problem

Write = Callable[..., Path]


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


def test_mistakes_in_how_it_is_run_are_told_with_their_place(recipe: Write) -> None:
    recipe("recipe", "[tool.runspec]", "[tool.runspec.run]", "launch = 'python'")
    said = problem(InvalidInput, "recipe.py", "execution.retires=2")
    assert (
        "execution.retires (override execution.retires=2): no such setting; did you mean 'retries'?" in said
    )
    assert "expected a mapping, got 3" in problem(InvalidInput, "recipe.py", "execution=3")


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
