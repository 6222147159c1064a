"""Where credentials are looked for, and which win."""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from generator.registry.credentials import Credentials, find


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGC_API_KEY", raising=False)


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def write(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def docker_config(**content: Any) -> Path:
    return write(Path.home() / ".docker" / "config.json", **content)


def found(registry: str = "registry.example", repository: str = "team/app") -> tuple[str, str] | None:
    credentials = find(registry, repository)
    return (credentials.username, credentials.password) if credentials else None


def helper(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential helper on PATH: `script` is Python that finds the server in `server`."""
    program = folder / f"docker-credential-{name}"
    program.write_text(
        f"#!{sys.executable}\nimport sys, json\nserver = sys.stdin.read()\n"
        f"assert sys.argv[1:] == ['get']\n{script}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_none_without_files() -> None:
    assert find("registry.example", "team/app") is None


def test_files_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "registry.example"
    docker_config(auths={key: auth("docker:1")})
    assert found() == ("docker", "1")
    write(tmp_path / "other" / "config.json", auths={key: auth("moved:2")})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "other"))
    assert found() == ("moved", "2")
    write(Path(os.environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json", auths={key: auth("podman:3")})
    assert found() == ("podman", "3")
    monkeypatch.setenv(
        "REGISTRY_AUTH_FILE", str(write(tmp_path / "named.json", auths={key: auth("named:4")}))
    )
    assert found() == ("named", "4")


def test_a_named_file_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    docker_config(auths={"registry.example": auth("docker:1")})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "absent.json"))
    assert found() is None
    assert "absent.json, which doesn't exist" in caplog.text


@pytest.mark.parametrize(
    "key",
    [
        "registry.example",
        "https://registry.example",
        "https://registry.example/v1/",
        "http://registry.example/v2/",
        "Registry.Example",
        "registry.example/",
    ],
)
def test_ways_to_write_a_registry(key: str) -> None:
    docker_config(auths={key: auth("user:pass:word")})
    assert found() == ("user", "pass:word")


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"])
def test_docker_hub_has_many_names(key: str) -> None:
    docker_config(auths={key: auth("hub:1")})
    assert found("docker.io", "library/ubuntu") == ("hub", "1")


@pytest.mark.parametrize(
    "key", ["other.example", "registry.example:5000", "registry.example.evil.test", "example", "registry"]
)
def test_other_registries_get_nothing(key: str) -> None:
    docker_config(auths={key: auth("user:1")})
    assert found() is None


def test_the_longest_namespace_wins() -> None:
    docker_config(
        auths={
            "registry.example": auth("all:1"),
            "registry.example/team": auth("team:2"),
            "registry.example/team/app": auth("app:3"),
        }
    )
    assert found(repository="team/app") == ("app", "3")
    assert found(repository="team/app/sub") == ("app", "3")
    assert found(repository="team/application") == ("team", "2")
    assert found(repository="other/app") == ("all", "1")


def test_forms_of_an_entry() -> None:
    docker_config(
        auths={
            "a.example": {"username": "plain", "password": "1"},
            "b.example": {"identitytoken": "exchange-me", "auth": auth("<token>:")["auth"]},
            "c.example": {},
            "d.example": {"auth": "%%%"},
            "e.example": auth("null:1\0\0"),
            "f.example": "text",
        }
    )
    assert found("a.example") == ("plain", "1")
    assert find("b.example", "x").identity_token == "exchange-me"  # type: ignore[union-attr]
    assert found("c.example") is None
    assert found("d.example") is None
    assert found("e.example") == ("null", "1")
    assert found("f.example") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"auths": []}', '{"credHelpers": 1, "auths": null}'])
def test_broken_files_are_passed_over(content: str) -> None:
    path = docker_config()
    path.write_text(content)
    assert found() is None


def test_a_broken_file_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    path = docker_config()
    path.write_text('{"auths": {"registry.example": {"auth": "c2VjcmV0OnNlY3JldA=="')
    assert found() is None
    assert f"{path} can't be read" in caplog.text
    assert "c2VjcmV0" not in caplog.text


def test_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "print(json.dumps({'ServerURL': server, 'Username': 'for ' + server, 'Secret': 'pw'}))"
    helper(tmp_path, "mine", answer, monkeypatch)
    docker_config(credHelpers={"registry.example": "mine"}, auths={"registry.example": auth("file:1")})
    assert found() == ("for registry.example", "pw")
    assert found("other.example") is None


def test_the_store_is_asked_last_and_by_docker_hubs_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = "print(json.dumps({'ServerURL': server, 'Username': server, 'Secret': 'pw'}))"
    helper(tmp_path, "store", answer, monkeypatch)
    docker_config(credsStore="store", auths={"registry.example": auth("file:1"), "docker.io": {}})
    assert found() == ("file", "1")
    assert found("docker.io") == ("https://index.docker.io/v1/", "pw")


def test_a_helpers_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(
        tmp_path, "mine", "print(json.dumps({'Username': '<token>', 'Secret': 'exchange-me'}))", monkeypatch
    )
    docker_config(credsStore="mine")
    credentials = find("registry.example", "x")
    assert credentials == Credentials(identity_token="exchange-me", origin="docker-credential-mine")


@pytest.mark.parametrize(
    "script",
    [
        "print('credentials not found in native keychain'); sys.exit(1)",
        "print('the-secret, but not JSON')",
        "print('{\"Username\": 1}')",
        "print('[]')",
    ],
)
def test_helpers_that_have_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str
) -> None:
    caplog.set_level(logging.DEBUG)
    helper(tmp_path, "mine", script, monkeypatch)
    docker_config(credHelpers={"registry.example": "mine"}, auths={"registry.example": auth("file:1")})
    assert found() == ("file", "1")
    assert "the-secret" not in caplog.text


@pytest.mark.parametrize("name", ["absent", "../../bin/sh", "a b", ""])
def test_helpers_that_are_none(name: str) -> None:
    docker_config(credHelpers={"registry.example": name})
    assert found() is None


def test_ngc_key_is_for_nvcr_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGC_API_KEY", "nvapi-1")
    assert found("nvcr.io", "nvidia/eval-factory/x") == ("$oauthtoken", "nvapi-1")
    assert found("nvcr.io.evil.test") is None
    docker_config(auths={"nvcr.io": auth("logged:in")})
    assert found("nvcr.io") == ("logged", "in")


def test_nothing_secret_when_printed() -> None:
    text = repr(Credentials("user", "hunter2", "exchange-me", origin="a file"))
    assert text == "Credentials(username='user', origin='a file')"
