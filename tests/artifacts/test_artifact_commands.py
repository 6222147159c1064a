"""Artifacts from the command line and in configurations, and which registry is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.cli import root
from catalog.errors import UsageError
from launcher.artifacts import resolve
from launcher.artifacts.names import ArtifactNotFound, VersionNotFound
from launcher.artifacts.opening import VARIABLE, location, open_registry
from launcher.artifacts.registry import Registry


def evaldock(*arguments: str) -> Result:
    return CliRunner().invoke(root(), ["artifact", *arguments], catch_exceptions=True)


def asked(*arguments: str) -> object:
    answer = evaldock(*arguments, "--json")
    assert answer.exit_code == 0, answer.exception
    return json.loads(answer.stdout)


def test_publishing_showing_and_fetching(registry: Registry, model: Path, tmp_path: Path) -> None:
    said = evaldock(
        "put", "llama", str(model), "--type", "weights", "--alias", "best", "--description", "first"
    )
    assert (said.exit_code, said.stdout) == (0, "llama:v1 (best)\n")
    assert f"in {tmp_path}/registry/llama/v1; name it in a configuration as ${{art:llama:v1}}" in said.stderr
    shown = evaldock("show", "llama").stdout
    for line in ("version      v1", "type         weights", "aliases      best", "description  first"):
        assert line in shown
    assert "shards/1.bin   10.2 kB" in shown
    assert "config.json" not in evaldock("show", "llama/shards").stdout
    assert evaldock("get", "llama:best", str(tmp_path / "got")).stdout == f"llama:v1 is in {tmp_path}/got\n"
    assert (tmp_path / "got" / "config.json").exists()


def test_lists_for_people_and_programs(registry: Registry, model: Path) -> None:
    assert evaldock("ls").stdout.startswith("no artifacts in ")
    assert asked("ls") == []
    evaldock("put", "llama", str(model))
    evaldock("put", "llama", str(model), "--alias", "best")
    evaldock("put", "questions", str(model / "config.json"), "--type", "dataset")
    lines = evaldock("ls").stdout.splitlines()
    assert lines[0].split() == ["VERSION", "TYPE", "SIZE", "FILES", "CREATED", "ALIASES"]
    assert [line.split()[0] for line in lines[1:]] == ["llama:v2", "questions:v1"]
    listed = asked("ls", "llama")
    assert isinstance(listed, list)
    assert [(each["version"], each["aliases"]) for each in listed] == [("v2", ["best"]), ("v1", [])]
    shown = asked("show", "questions")
    assert isinstance(shown, dict)
    assert shown["files"]["config.json"]["size"] == 14


def test_fetching_a_part_here(
    registry: Registry, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaldock("put", "llama", str(model))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert asked("get", "llama/shards/2.bin") == {"version": "llama:v1", "files": ["2.bin"]}
    assert (tmp_path / "here" / "2.bin").stat().st_size == 5000


def test_an_alias_is_given_later(registry: Registry, model: Path) -> None:
    evaldock("put", "llama", str(model))
    assert evaldock("alias", "llama", "best").stdout == "llama:v1 (best)\n"
    assert resolve("llama:best", "version") == "v1"


def test_a_job_signs_what_it_publishes(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALDOCK_JOB", "0123456789abcdef-002/1/process")
    evaldock("put", "llama", str(model))
    shown = asked("show", "llama")
    assert isinstance(shown, dict)
    assert shown["made_by"] == "0123456789abcdef-002"


def test_fields_of_an_artifact_are_of_one_version(registry: Registry, model: Path, tmp_path: Path) -> None:
    version = registry.put("llama", model, type="weights")
    assert resolve("llama") == f"{tmp_path}/registry/llama/v1"
    assert resolve("llama/shards", "path") == f"{tmp_path}/registry/llama/v1/shards"
    assert resolve("llama:latest/config.json", "uri") == "art://llama:v1/config.json"
    assert resolve("art://llama", "uri") == "art://llama:v1"
    assert [resolve("llama", field) for field in ("name", "version", "type")] == ["llama", "v1", "weights"]
    assert resolve("llama", "digest") == version.digest
    assert resolve("llama/config.json", "digest") == version.files["config.json"].checksum.removeprefix(
        "sha256:"
    )
    with pytest.raises(UsageError, match="an artifact has no 'pth'; did you mean 'path'"):
        resolve("llama", "pth")
    with pytest.raises(ArtifactNotFound):
        resolve("llama/nothing")
    with pytest.raises(VersionNotFound):
        resolve("llama:v2")


def env_toml(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "env.toml").write_text(text)


def test_which_registry_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_environment: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert location()[0] == f"{own_environment}/.local/share/evaldock/artifacts"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert location()[0] == "/data/evaldock/artifacts"
    env_toml(tmp_path / "project", '[artifacts]\nbackend = "file"\nroot = "../shared"\n')
    assert open_registry().place == f"{tmp_path}/shared"
    env_toml(tmp_path / "project", '[artifacts]\nbackend = "memory"\nroot = "models"\n')
    assert location() == ("memory://models", {})
    options = '[artifacts]\nbackend = "s3"\nroot = "s3://b/p"\noptions = { endpoint_url = "http://h" }\n'
    env_toml(tmp_path / "project", options)
    assert location() == ("s3://b/p", {"endpoint_url": "http://h"})
    for chosen, meant in {"else/where": f"{tmp_path}/project/else/where", "memory://x": "memory://x"}.items():
        monkeypatch.setenv(VARIABLE, chosen)
        assert location() == (meant, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[artifacts]\nrot = "x"', r"artifacts\.rot: unknown key; did you mean 'root'"),
        ('[artifacts]\nbackend = "file"', "root is needed"),
        ("[artifacts]\nroot = 3", "must be texts"),
        ('[artifacts]\nroot = "x"\noptions = 1', r"artifacts\.options: expected a table"),
    ],
)
def test_mistakes_in_the_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    env_toml(tmp_path, text)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said) as wrong:
        location()
    assert wrong.value.place is not None
    assert wrong.value.place.endswith("env.toml:1")


CONFIGURATION = f"""
defaults: [execution: docker, deployment: vllm, _self_]
deployment: {{checkpoint_path: "${{art:llama:best}}", served_model_name: m}}
evaluation:
  env_vars: {{CONFIG: "lit:${{art:llama/config.json,uri}}"}}
  tasks:
    - {{name: quickcheck.chat, container: "registry.example/chat@sha256:{"0" * 64}"}}
"""


def test_weights_and_data_by_name_in_a_configuration(registry: Registry, model: Path, tmp_path: Path) -> None:
    registry.put("llama", model, aliases=["best"])
    registry.put("llama", model)
    (tmp_path / "run.yaml").write_text(CONFIGURATION)
    arguments = ["run", "--config-dir", str(tmp_path), "--config-name", "run", "--dry-run", "--json"]
    answer = CliRunner().invoke(root(), arguments)
    assert answer.exit_code == 0, answer.exception
    [job] = json.loads(answer.stdout)["plan"]["jobs"]
    assert [mount["source"] for mount in job["deployment"]["mounts"]] == [f"{tmp_path}/registry/llama/v1"]
    assert job["env"]["CONFIG"] == "art://llama:v2/config.json"
