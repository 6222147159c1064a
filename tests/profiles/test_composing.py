"""Configurations within a profile: precedence, interpolations, and what they leave alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from catalog.errors import InvalidInput, Refused, UsageError
from launcher.artifacts.names import ArtifactNotFound
from launcher.configuration.compose import Composed, Layer, compose
from launcher.configuration.model import validate
from launcher.configuration.overlay import overlay
from launcher.configuration.resolvers import Context
from launcher.profiles import env_file, surroundings
from launcher.profiles.surroundings import Surroundings
from running import evaldock

Yaml = Callable[[str], Path]


@pytest.fixture
def yaml(tmp_path: Path) -> Yaml:
    def write(text: str) -> Path:
        file = tmp_path / "run.yaml"
        file.write_text(text)
        return file

    return write


def within(tmp_path: Path, text: str, profile: str | None = None, **environ: str) -> Surroundings:
    (tmp_path / "env.toml").write_text(text)
    known = {env_file.VARIABLE: str(tmp_path / "env.toml"), **environ}
    return surroundings.of(profile, kind="tasks", run={"id": "r1"}, environ=known, dry_run=True)


PROFILE = """\
[p]
executor = "docker"
gpus_per_node = 8
timeout = 60
retries = 2
mounts = ["/data:/data", "/scratch:/scratch"]
env = { A = "profile", B = "profile" }
[p.deployment]
image = "profile/server"
port = 9000
[p.target.api_endpoint]
url = "https://profile.example/v1"
"""
YAML = """\
execution:
  type: process
  gpus: 2
  timeout: 10
  mounts: ["/own:/own", "/data:/data"]
  env_vars: {A: "lit:yaml", C: "lit:yaml"}
deployment: {image: own/server, port: 8000}
target: {api_endpoint: {url: "https://yaml.example/v1", model_id: yaml}}
"""


def test_from_weak_to_strong(tmp_path: Path, yaml: Yaml) -> None:
    around = within(tmp_path, PROFILE, "p")
    option = Layer("--url", {"target": {"api_endpoint": {"url": "https://option.example/v1"}}})
    overrides = ["execution.timeout=5", "execution.gpus=1", "target.api_endpoint.model_id=override"]
    data = around.compose(yaml(YAML), overrides, extra=[option]).data
    assert data["execution"] == {
        "type": "docker",
        "gpus": 1,
        "timeout": 5,
        "retries": 2,
        "mounts": ["/own:/own", "/data:/data", "/scratch:/scratch"],
        "env_vars": {"A": "lit:profile", "B": "lit:profile", "C": "lit:yaml"},
    }
    assert data["deployment"] == {"image": "own/server", "port": 9000}
    endpoint = {"url": "https://option.example/v1", "model_id": "override"}
    assert data["target"]["api_endpoint"] == endpoint
    alone = around.compose(yaml(YAML), []).data
    assert (alone["execution"]["gpus"], alone["target"]["api_endpoint"]["model_id"]) == (2, "yaml")
    assert around.compose(None, []).data["execution"]["gpus"] == 8


def test_a_mistake_is_placed_where_it_stands(tmp_path: Path, yaml: Yaml) -> None:
    around = within(tmp_path, '[p]\nexecutor = "docker"\nretries = "many"\n', "p")
    with pytest.raises(InvalidInput) as caught:
        validate(around.compose(yaml("execution: {timeout: soon}"), ["execution.cpus=few"]))
    text = str(caught.value)
    assert f"execution.retries ({tmp_path}/env.toml:3): " in text
    assert f"execution.timeout ({tmp_path}/run.yaml): " in text
    assert "execution.cpus (override execution.cpus=few): " in text


def test_defaults_and_cycles(tmp_path: Path, yaml: Yaml) -> None:
    (tmp_path / "execution").mkdir()
    (tmp_path / "execution" / "big.yaml").write_text("type: docker\nretries: 1\ntimeout: 1\n")
    (tmp_path / "common.yaml").write_text("execution: {timeout: 2, parallel: 2}\n")
    main = "defaults: [execution: big, common, _self_]\nexecution: {parallel: 3}\n"
    assert compose(yaml(main), []).data["execution"] == {
        "type": "docker",
        "retries": 1,
        "timeout": 2,
        "parallel": 3,
    }
    first = main.replace("[execution: big, common, _self_]", "[_self_, execution: big, common]")
    assert compose(yaml(first), []).data["execution"]["parallel"] == 2
    (tmp_path / "common.yaml").write_text("defaults: [run]\n")
    with pytest.raises(UsageError) as caught:
        compose(yaml(main), [])
    assert "a cycle in defaults: run.yaml → common.yaml → run.yaml" in str(caught.value)


def resolved(yaml: Yaml, text: str, **context: Any) -> Composed:
    return compose(yaml(text), [], context=Context(**context))


def test_values_of_the_run_keep_their_type_and_unknown_ones_stay(yaml: Yaml) -> None:
    text = r"""
run: {steps: 5, data: "set-${run.steps}", nested: {list: [1, 2]}}
number: ${run.steps}
text: n=${run.steps}
twice: ${run.data}
list: ${run.nested.list}
one: ${run.nested.list.1}
id: ${run.id}
project: ${run.wandb.project}
own: ${run.steps}
unknown: ${run.nobody.knows}
between: a-${run.nobody}-${run.steps}-${run.id.deeper}
escaped: \${run.steps}
escaped_unknown: \${run.nobody}
backslash: 'x\\${run.nobody}'
list_beyond: ${run.nested.list.7}
"""
    found = resolved(yaml, text, run={"id": "r1", "steps": 1, "wandb": {"project": "p"}})
    assert found.data == {
        "number": 5,
        "text": "n=5",
        "twice": "set-5",
        "list": [1, 2],
        "one": 2,
        "id": "r1",
        "project": "p",
        "own": 5,
        "unknown": "${run.nobody.knows}",
        "between": "a-${run.nobody}-5-${run.id.deeper}",
        "escaped": "${run.steps}",
        "escaped_unknown": "${run.nobody}",
        "backslash": "x\\${run.nobody}",
        "list_beyond": "${run.nested.list.7}",
    }
    assert found.run["steps"] == 5


def test_variables_of_this_machine(yaml: Yaml) -> None:
    environ = {"HERE": "yes", "ODD": "${run.id} ${env:HERE} $(x)"}
    text = "a: ${env:HERE}\nb: x-${env:HERE}\nc: ${env:NOWHERE,3}\nd: ${env:ODD}\ne: ${oc.env:HERE}\n"
    assert resolved(yaml, text, environ=environ).data == {
        "a": "yes",
        "b": "x-yes",
        "c": 3,
        "d": "${run.id} ${env:HERE} $(x)",
        "e": "yes",
    }
    with pytest.raises(UsageError) as caught:
        resolved(yaml, "q: {r: ['${env:NOWHERE}']}", environ=environ)
    assert str(caught.value).startswith("q.r[0] (")
    assert "${env:NOWHERE}: the variable is not set\n  export it, or write ${env:NOWHERE,DEFAULT}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "name", ["MONKEY", "TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "AWS_ACCESS_KEY_ID"]
)
def test_what_only_sounds_like_a_secret(name: str, yaml: Yaml) -> None:
    assert resolved(yaml, f"a: ${{env:{name}}}", environ={name: "v"}).data == {"a": "v"}


@pytest.mark.parametrize("way", ["env", "oc.env"])
@pytest.mark.parametrize(
    "name", ["BOUND", "HF_TOKEN", "openai_api_key", "MYAPIKEY", "AWS_SECRET", "PGPASSWORD"]
)
def test_a_secret_is_not_written_into_a_configuration(way: str, name: str, yaml: Yaml) -> None:
    with pytest.raises(Refused) as caught:
        resolved(
            yaml,
            f"a: ${{{way}:{name},d}}",
            environ={name: "the-value"},
            secrets=frozenset({"BOUND"}),
        )
    assert f"name it under env_vars: {name}: host:{name}" in str(caught.value)
    assert "the-value" not in str(caught.value)


def test_keys_of_any_profile_are_secrets_to_interpolations(tmp_path: Path, yaml: Yaml) -> None:
    text = '[p]\nexecutor = "docker"\n[q.keys]\n"https://x.example" = "MINE"\n'
    for profile in (None, "p"):
        with pytest.raises(Refused, match="it is bound as a key"):
            within(tmp_path, text, profile, MINE="v").compose(yaml("a: ${oc.decode:'${env:MINE}'}"), [])


def test_artifacts_by_name(tmp_path: Path, yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = '[artifacts]\nroot = "store"\n'
    around = within(tmp_path, toml)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"1")
    monkeypatch.setenv(env_file.VARIABLE, str(tmp_path / "env.toml"))
    assert evaldock("artifact", "put", "model", tmp_path / "weights").code == 0
    text = "path: ${art:model}\nversion: ${art:model:v1,version}\ninside: ${art:model}/a.bin\n"
    data = around.compose(yaml(text), []).data
    assert data["version"] == "v1"
    assert Path(data["path"]).is_relative_to(tmp_path / "store")
    with pytest.raises(ArtifactNotFound) as caught:
        around.compose(yaml("x: {y: '${art:nothing}'}"), [])
    assert "x.y (" in str(caught.value)
    elsewhere = within(tmp_path, '[artifacts]\nbackend = "memory"\nroot = "store"\n')
    assert elsewhere.compose(yaml("a: '${art:model:v1,digest}/x'"), []).data == {
        "a": "${art:model:v1,digest}/x"
    }


def test_others_who_use_omegaconf_notice_nothing(yaml: Yaml) -> None:
    OmegaConf.clear_resolver("art")
    register = getattr(OmegaConf, "register_resolver", None) or OmegaConf.register_new_resolver
    register("env", lambda name: f"theirs-{name}", replace=True)
    try:
        assert resolved(yaml, "a: ${env:HERE}", environ={"HERE": "ours"}).data == {"a": "ours"}
        with pytest.raises(UsageError):
            resolved(yaml, "a: ${env:NOWHERE}", environ={})
        assert OmegaConf.to_container(OmegaConf.create({"a": "${env:HERE}"}), resolve=True) == {
            "a": "theirs-HERE"
        }
        assert not OmegaConf.has_resolver("art")
        assert not OmegaConf.has_resolver("auto_mount")
    finally:
        OmegaConf.clear_resolver("env")
    os.environ["EVALDOCK_TEST_PLAIN"] = "1"
    try:
        theirs = OmegaConf.create({"a": "${oc.env:EVALDOCK_TEST_PLAIN}"})
        assert OmegaConf.to_container(theirs, resolve=True) == {"a": "1"}
    finally:
        del os.environ["EVALDOCK_TEST_PLAIN"]


WANDB = """\
[p]
executor = "docker"
[p.wandb]
group = "g"
[wandb]
entity = "team"
project = "proj"
tags = ["a", "b"]
inject = ["tasks"]
api_key_name = "OUR_WANDB"
"""


def variables(around: Surroundings) -> Mapping[str, str]:
    found: Mapping[str, str] = around.compose(None, []).data.get("execution", {}).get("env_vars", {})
    return found


def test_weights_and_biases(tmp_path: Path) -> None:
    everywhere = {
        "WANDB_ENTITY": "lit:team",
        "WANDB_PROJECT": "lit:proj",
        "WANDB_TAGS": "lit:a,b",
        "WANDB_API_KEY": "host:OUR_WANDB",
    }
    assert variables(within(tmp_path, WANDB)) == everywhere
    assert variables(within(tmp_path, WANDB, "p")) == {**everywhere, "WANDB_RUN_GROUP": "lit:g"}
    assert variables(within(tmp_path, WANDB.replace("tasks", "recipes"), "p")) == {}
    own = WANDB + '[mine]\nexecutor = "docker"\nenv = { WANDB_PROJECT = "mine" }\n'
    assert variables(within(tmp_path, own, "mine"))["WANDB_PROJECT"] == "lit:mine"
    wrong = WANDB.replace('"OUR_WANDB"', '"a key itself"').replace("entity", "entiti")
    with pytest.raises(InvalidInput) as caught:
        within(tmp_path, wrong)
    assert "entiti: unknown key; did you mean 'entity'?" in str(caught.value)
    assert "a key itself" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/env.toml:5: ")


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=12).filter(
    lambda t: t != "???"
)
NAMES = st.sampled_from(["gpus", "gpus_per_node", "nodes", "image", "mounts", "env_vars", "timeout"])
PARTS = st.dictionaries(NAMES, st.one_of(st.integers(), st.lists(PLAIN), st.none()), max_size=5)


@given(
    st.recursive(
        PLAIN | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=6
    )
)
def test_what_holds_no_interpolation_comes_out_as_it_went_in(value: object) -> None:
    layer = Layer("x", {"a": {"b": value}})
    assert compose(None, [], extra=[layer], context=Context()).data == {"a": {"b": value}}


@given(PARTS, PARTS)
def test_a_profile_wins_but_for_the_work(own: dict[str, Any], theirs: dict[str, Any]) -> None:
    merged = overlay({"execution": own}, {"execution": theirs})["execution"]
    gpus = ("gpus", "gpus_per_node")
    for name in {*own, *theirs}:
        ours = own.get(name)
        if name in gpus and any(own.get(each) is not None for each in gpus):
            assert merged.get(name) == ours
        elif name in ("nodes", "image") and ours is not None:
            assert merged[name] == ours
        elif name == "mounts" and isinstance(ours, list) and isinstance(theirs.get(name), list):
            assert merged[name][: len(ours)] == ours
            assert {*merged[name]} == {*ours, *theirs[name]}
        elif name == "mounts":
            assert merged[name] == (
                ours if ours is not None and theirs.get(name) is not None else theirs.get(name, ours)
            )
        else:
            assert merged[name] == theirs.get(name, ours)
