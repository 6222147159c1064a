"""Profiles as they are used: `evaldock profile`, and runs within one, for real and dry."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from planned_runs import HARNESSES
from running import evaldock
from standins import standin

Write = Callable[[str], Path]
CATALOG = HARNESSES.parent
ENV = """\
[base]
description = "what all have"
execution.retries = 1
env = { WHERE = "here" }

[local]
extends = "base"
executor = "process"
env = { HF_TOKEN = "host:HF_TOKEN?" }

[local.keys]
"URL" = "LOCAL_KEY"

[wandb]
project = "scores"

[artifacts]
root = "artifacts"
options = { secret = "s3-secret" }
"""


@pytest.mark.timeout(300)  # the harness's environment is made once, on an empty cache
def test_a_run_within_a_profile(project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "k-secret-1")
    with standin(tmp_path, "--key-env", "LOCAL_KEY") as url:
        folder = project(ENV.replace("URL", url))
        (folder / "evaluate.yaml").write_text(
            "run: {limit: 2}\n"
            f"target: {{api_endpoint: {{url: '{url}', model_id: stand-in}}}}\n"
            "evaluation:\n"
            "  env_vars: {SAID: 'lit:${run.profile} ${run.limit} ${run.nothing}'}\n"
            "  nemo_evaluator_config: {config: {params: {limit_samples: '${run.limit}'}}}\n"
            "  tasks: [quickcheck.chat]\n"
        )
        words = ("run", "--config-name", "evaluate", "--catalog", CATALOG, "--profile", "local", "--json")
        ran = evaldock(*words)
    assert ran.code == 0, ran.err
    run = Path(ran.json["directory"])
    assert run.parent == folder / "evaldock-runs"
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["execution"] == {
        "type": "process",
        "retries": 1,
        "env_vars": {"WHERE": "lit:here", "HF_TOKEN": "host:HF_TOKEN?"},
    }
    assert kept["evaluation"]["env_vars"] == {"SAID": "lit:local 2 ${run.nothing}"}
    assert "run" not in kept
    job = json.loads((next((run / "jobs").iterdir()) / "job.json").read_text())
    assert job["endpoint"]["key_name"] == "LOCAL_KEY"
    assert job["env"] == {"WHERE": "here", "SAID": "local 2 ${run.nothing}"}
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(b"k-secret-1" in data for data in written)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


def test_a_dry_run_prints_what_was_compiled_and_touches_nothing(
    project: Write, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "k-secret-2")
    url = "https://api.example/v1"
    folder = project(ENV.replace("URL", url))
    before = sorted(folder.rglob("*"))
    words = ("run", "quickcheck.chat", "--model-id", "m", "--url", url, "--catalog", CATALOG, "--dry-run")
    text = evaldock(*words, "--run", "local", "execution.retries=3")
    assert text.code == 0, text.err
    head, _, rest = text.out.partition("\n\n# ")
    assert head.startswith("# compiled configuration\n")
    compiled = yaml.safe_load(head)
    assert compiled["execution"]["retries"] == 3
    assert compiled["target"] == {"api_endpoint": {"url": url, "model_id": "m"}}
    assert "quickcheck.chat for m, on process" in rest
    told = evaldock(*words, "--batch", "local", "--json").json
    assert told["configuration"]["execution"]["type"] == "process"
    assert told["submissions"][0]["secrets"] == ["LOCAL_KEY"]
    assert "k-secret-2" not in text.out + json.dumps(told)
    assert sorted(folder.rglob("*")) == before
    assert not (folder.parent / "state").exists()


def test_a_key_that_would_go_astray(project: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "k-secret-3")
    folder = project(ENV.replace("URL", "https://api.example/v1"))
    words = ("run", "quickcheck.chat", "--model-id", "m", "--catalog", CATALOG, "--api-key-name", "LOCAL_KEY")
    for way in (("--profile", "local"), ("--backend", "process")):
        ran = evaldock(*words, *way, "--url", "https://api.example:444/v1")
        assert ran.code == 5
        place = "(env.toml:12)"
        assert f"LOCAL_KEY is bound to https://api.example/v1 {place} and may not be sent to" in ran.err
    assert not (folder / "evaldock-runs").exists()
    moved = evaldock(
        *words, "--profile", "local", "--url", "https://api.example/v1", "target.api_endpoint.url=http://x/v1"
    )
    assert moved.code == 5


@pytest.mark.parametrize(
    "override",
    [
        "execution.mounts=[/:/host]",
        "execution={docker_args: [--network=host]}",
        "evaluation.tasks.0.container=x",
        "evaluation.tasks=[{name: quickcheck.chat, env_vars: {A: 'host:LOCAL_KEY'}}]",
        "deployment.type=generic",
        "evaluation.overrides={target.api_endpoint.adapter_config: {a: 1}}",
        "+execution.env_vars.HTTPS_PROXY=lit:http://evil.example",
        "execution.type=docker",
        "execution=null",
        "execution.hostname=evil.example",
        "backend={name: ray, dashboard_url: 'http://evil.example'}",
        "evaluation.tasks.0.overrides={target: {api_endpoint: {adapter_config: {a: 1}}}}",
        "evaluation.nemo_evaluator_config.command=curl",
        "evaluation.nemo_evaluator_config={a: [{command: x}]}",
        "evaluation.env_vars.A=host:LOCAL_KEY",
        "run.env.container=x",
        "target.api_endpoint.adapter_config.a=1",
    ],
)
def test_overrides_where_keys_must_be_bound(
    override: str, project: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALDOCK_BOUND_KEYS", "1")
    project(ENV.replace("URL", "https://api.example/v1"))
    words = ("run", "quickcheck.chat", "--model-id", "m", "--url", "https://api.example/v1", "--dry-run")
    ran = evaldock(*words, "--profile", "local", "--catalog", CATALOG, override)
    assert ran.code == 5
    assert "overrides say what is run, not by what means" in ran.err


def test_the_plain_override_is_still_one(project: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALDOCK_BOUND_KEYS", "1")
    monkeypatch.setenv("LOCAL_KEY", "k")
    project(ENV.replace("URL", "https://api.example/v1"))
    words = ("run", "quickcheck.chat", "--model-id", "m", "--url", "https://api.example/v1", "--dry-run")
    overrides = (
        "evaluation.overrides={config.params.temperature: 0}",
        "evaluation.tasks.0.params.parallelism=2",
        "execution.timeout=5",
        "+run.anything=1",
        "target.api_endpoint.model_id=other",
    )
    ran = evaldock(*words, "--profile", "local", "--catalog", CATALOG, *overrides)
    assert ran.code == 0, ran.err


def test_one_profile_at_a_time(project: Write) -> None:
    project(ENV.replace("URL", urlsplit("http://x/v1").geturl()))
    ran = evaldock("run", "quickcheck.chat", "--run", "local", "--batch", "local")
    assert (ran.code, "--profile, --run and --batch name a profile each" in ran.err) == (2, True)
    missing = evaldock("run", "quickcheck.chat", "--profile", "locla")
    assert (missing.code, "no profile 'locla'; did you mean 'local'?" in missing.err) == (3, True)


def test_profiles_are_listed_and_shown(project: Write) -> None:
    folder = project(
        ENV.replace("URL", "http://x/v1")
        + '\n[broken]\nextends = "bas"\n[odd]\ntype = "docker"\nretires = 1\n'
    )
    listed = evaldock("profile", "ls")
    assert listed.code == 1
    rows = [line.split() for line in listed.out.splitlines()]
    assert rows == [
        ["PROFILE", "BACKEND", "EXTENDS", "DESCRIPTION"],
        ["base", "what", "all", "have"],
        ["local", "process", "base", "what", "all", "have"],
        ["broken", "(1", "mistake)"],
        ["odd", "docker", "(1", "mistake)"],
    ]
    assert "broken.extends: no profile 'bas'; did you mean 'base'?" in listed.err
    assert "execution.retires (env.toml:25): no such setting; did you mean 'retries'?" in listed.err
    data = evaldock("profile", "ls", "--json").json
    assert [row["profile"] for row in data["profiles"]] == ["base", "local", "broken", "odd"]
    shown = evaldock("profile", "show", "local", "--json")
    assert shown.code == 0
    values = {row["key"]: (row["value"], row["place"]) for row in shown.json["values"]}
    assert shown.json["file"] == f"{folder}/env.toml"
    file = "env.toml"
    assert values == {
        "description": ("what all have", f"{file}:2"),
        "execution.retries": (1, f"{file}:3"),
        "execution.env_vars.WHERE": ("lit:here", f"{file}:4"),
        "execution.env_vars.HF_TOKEN": ("host:HF_TOKEN?", f"{file}:9"),
        "execution.type": ("process", f"{file}:8"),
        "keys.http://x/v1": ("LOCAL_KEY", f"{file}:12"),
        "wandb.project": ("scores", f"{file}:15"),
    }
    assert evaldock("profile", "show", "nobody").code == 3
    sections = evaldock("profile", "show")
    assert "artifacts.root" in sections.out
    assert "s3-secret" not in sections.out + evaldock("profile", "show", "--json").out


def test_without_an_env_toml(project: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for words in (("profile", "ls"), ("profile", "show", "x"), ("run", "x", "--profile", "y")):
        ran = evaldock(*words)
        assert (ran.code, "there is no env.toml" in ran.err) == (3, True), ran.err
    monkeypatch.setenv("EVALDOCK_ENV_FILE", str(tmp_path / "nowhere"))
    assert "EVALDOCK_ENV_FILE names no file" in evaldock("run", "x").err
