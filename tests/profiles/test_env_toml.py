"""env.toml: where it is found, what profiles inherit, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import EvaldockError, InvalidInput, NotFound, UsageError
from launcher.profiles import env_file
from launcher.profiles import profile as profiles
from launcher.profiles.profile import Profile

SEED = """\
[base]
executor = "slurm"
account = "my-account"
remote_job_dir = "/lustre/jobs"

[dev]
extends = "base"
partition = "dev-gpu"
nodes = 1

[prod]
extends = "base"
partition = "prod-gpu"
nodes = 8

[wandb]
entity = "my-team"
project = "nemotron"

[artifacts]
backend = "file"
root = "/lustre/artifacts"

[cache]
git_dir = "/lustre/git-cache"
"""
Written = Callable[[str], Mapping[str, str]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes an env.toml and gives the environment that names it."""

    def write(text: str) -> Mapping[str, str]:
        file = tmp_path / "env.toml"
        file.write_text(text)
        return {env_file.VARIABLE: str(file)}

    return write


def load(text: str, name: str, written: Written) -> Profile:
    return profiles.load(name, written(text))


def test_the_seeds_own_example(written: Written, tmp_path: Path) -> None:
    profile = load(SEED, "prod", written)
    assert profile.execution == {
        "type": "slurm",
        "account": "my-account",
        "output_dir": "/lustre/jobs",
        "partition": "prod-gpu",
        "nodes": 8,
    }
    assert profile.chain == ("prod", "base")
    assert profile.wandb == {"entity": "my-team", "project": "nemotron"}
    assert profile.layer.place(("execution", "account")) == f"{tmp_path}/env.toml:3"
    assert profile.layer.place(("execution", "nodes")) == f"{tmp_path}/env.toml:14"
    assert env_file.section("cache", written(SEED)) == {"git_dir": "/lustre/git-cache"}


def test_the_seeds_profiles_are_profiles(written: Written) -> None:
    more = 'time = 04:00:00\nmem = "64g"\nhost = "login.example"\ncontainer_mounts = ["/lustre:/lustre"]\n'
    profile = load(SEED.replace("nodes = 8\n", f"nodes = 8\n{more}"), "prod", written)
    assert profiles.problems(profile) == []
    assert profile.execution["container_mounts"] == ["/lustre:/lustre"]
    assert (profile.execution["walltime"], profile.execution["memory"]) == ("04:00:00", "64g")


def test_children_win_tables_merge_and_lists_replace(written: Written) -> None:
    text = """\
    [a]
    executor = "docker"
    mounts = ["/a:/a", "/b:/b"]
    env = { ONE = "a", TWO = 2 }
    deployment.image = "x"
    [b]
    extends = "a"
    backend = "process"
    mounts = ["/c:/c"]
    env = { TWO = true, THREE = "host:THREE?" }
    [c]
    extends = "b"
    execution.timeout = 3
    """
    profile = load(text, "c", written)
    assert profile.layer.data == {
        "execution": {
            "type": "process",
            "mounts": ["/c:/c"],
            "env_vars": {"ONE": "lit:a", "TWO": "lit:true", "THREE": "host:THREE?"},
            "timeout": 3,
        },
        "deployment": {"image": "x"},
    }
    assert profile.backend == "process"


def test_times_of_toml_are_texts(written: Written) -> None:
    text = '[a]\nexecutor = "slurm"\ntime = 04:00:00\n'
    assert load(text, "a", written).execution["walltime"] == "04:00:00"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('backend = "ray"\nexecutor = "slurm"', {"type": "ray", "executor": "slurm"}),
        ('executor = "ray"', {"type": "ray"}),
        ('executor = "docker"\ncontainer_mounts = ["/a:/a"]', {"type": "docker", "mounts": ["/a:/a"]}),
        ('backend = { name = "ray", dashboard_url = "http://h:1" }', None),
    ],
)
def test_other_names_of_settings(keys: str, expected: dict[str, Any] | None, written: Written) -> None:
    profile = load(f"[a]\n{keys}\n", "a", written)
    if expected is None:
        expected = {"backend": {"name": "ray", "dashboard_url": "http://h:1"}}
    assert profile.execution == expected


@pytest.mark.parametrize(
    ("text", "name", "kind", "message"),
    [
        (
            SEED,
            "prd",
            NotFound,
            "{file}: no profile 'prd'; did you mean 'prod'?\n  there are: base, dev, prod",
        ),
        (
            SEED,
            "wandb",
            UsageError,
            "{file}:16: [wandb] is no profile: wandb, cli, cache, artifacts are special sections\n"
            "  there are: base, dev, prod",
        ),
        (
            '[a]\nextends = "b"\n[b]\nextends = "c"\n[c]\nextends = "a"\n',
            "b",
            UsageError,
            "{file}:2: a.extends: profiles inherit in a circle: b → c → a → b",
        ),
        ('[a]\nextends = "a"\n', "a", UsageError, "{file}:2: a.extends: profiles inherit in a circle: a → a"),
        (
            '[base]\n[a]\nextends = "bas"\n',
            "a",
            UsageError,
            "{file}:3: a.extends: no profile 'bas'; did you mean 'base'?\n  there are: base, a",
        ),
        (
            '[a]\nextends = "wandb"\n[wandb]\n',
            "a",
            UsageError,
            "{file}:2: a.extends: [wandb] is a special section\n  there are: a",
        ),
        (
            '[a]\nextends = ["b"]\n[b]\n',
            "a",
            UsageError,
            "{file}:2: a.extends: expected the name of one profile, got ['b']",
        ),
    ],
)
def test_what_is_said_of_inheritance(
    text: str, name: str, kind: type[EvaldockError], message: str, *, written: Written, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        load(text, name, written)
    assert str(caught.value) == message.format(file=tmp_path / "env.toml")


def test_every_mistake_of_a_profile_at_once(written: Written, tmp_path: Path) -> None:
    text = """\
[a]
extend = "b"
executor = "docker"
type = "process"
env = { API_KEY = "sk-very-secret", LIST = [1] }
keys = 3
secrets = "HF_TOKEN"
image = 7
"""
    with pytest.raises(InvalidInput) as caught:
        load(text, "a", written)
    file = tmp_path / "env.toml"
    assert list(caught.value.problems) == [
        f"{file}:2: a.extend: unknown key; did you mean 'extends'?",
        f"{file}:4: a.type: stands at {file}:3 already, under another name",
        f"{file}:5: a.env.API_KEY: a secret stands here by name only: host:API_KEY or runtime:API_KEY",
        f"{file}:5: a.env.LIST: expected text",
        f"{file}:6: a.keys: expected a table",
        f"{file}:7: a.secrets: expected a list of names, got 'HF_TOKEN'",
        f"{file}:8: a.image: expected text, got 7",
    ]
    assert "sk-very" not in str(caught.value)


def test_an_unknown_setting_is_told_with_its_line(written: Written, tmp_path: Path) -> None:
    profile = load('[a]\nexecutor = "docker"\nretires = 3\n', "a", written)
    assert profiles.problems(profile) == [
        f"execution.retires ({tmp_path}/env.toml:3): no such setting; did you mean 'retries'?"
    ]
    unknown = load('[a]\nexecutor = "dokcer"\n', "a", written)
    (said,) = profiles.problems(unknown)
    assert said.startswith(f"{tmp_path}/env.toml:2: no backend 'dokcer'; did you mean 'docker'?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a\n", "not valid TOML"),
        ("x = 1\n[a]\n", "x: stands outside every table"),
        ("[a]\nx = '\udcff'\n", "not valid TOML"),
    ],
)
def test_files_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "env.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput) as caught:
        env_file.read(file)
    assert message in str(caught.value)
    assert f"{file}:" in str(caught.value)


def test_where_it_is_found(tmp_path: Path) -> None:
    deep = tmp_path / "project" / "one" / "two"
    deep.mkdir(parents=True)
    (tmp_path / "env.toml").write_text("[outside]\n")
    assert env_file.find({}, deep) == tmp_path / "env.toml"
    (tmp_path / "project" / "pyproject.toml").touch()
    assert env_file.find({}, deep) is None, "nothing above the project counts"
    (tmp_path / "project" / "env.toml").write_text("[inside]\n")
    assert env_file.find({}, deep) == tmp_path / "project" / "env.toml"
    (deep / "env.toml").write_text("[nearest]\n")
    assert env_file.find({}, deep) == deep / "env.toml"
    chosen = {env_file.VARIABLE: str(tmp_path / "env.toml")}
    assert env_file.find(chosen, deep) == tmp_path / "env.toml"
    assert env_file.find({env_file.VARIABLE: ""}, deep) == deep / "env.toml"
    with pytest.raises(NotFound, match="EVALDOCK_ENV_FILE names no file"):
        env_file.find({env_file.VARIABLE: str(tmp_path / "nowhere.toml")}, deep)
    with pytest.raises(NotFound, match=r"there is no env\.toml, so no profile 'x'"):
        profiles.load("x", {}, start=tmp_path.parent / "nowhere")
