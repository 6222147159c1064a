"""What leads to a backend lies in files of its owner's alone, and in no environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalog.errors import UsageError
from launcher.action import credentials

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    values = {
        "EVALDOCK_SSH_KEY": KEY.replace("\n", "\r\n"),
        "EVALDOCK_SSH_KNOWN_HOSTS": "login.example ssh-ed25519 AAAA",
        "RAY_AUTH_TOKEN": " ray-token\n",
        "LEPTON_WORKSPACE_TOKEN": "lepton-token",
        "EVALDOCK_TOKEN": "git-token",
        "PATH": "/bin",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def test_secrets_become_files(given: dict[str, str], tmp_path: Path) -> None:
    environ, token = credentials.hand_over(given, tmp_path)
    assert token == "git-token"
    files = {path.name: path for path in (tmp_path / "credentials").iterdir()}
    assert {name: path.stat().st_mode & 0o777 for name, path in files.items()} == dict.fromkeys(
        ("ssh_key", "known_hosts", "ssh_config", "ray_token"), 0o600
    )
    assert (tmp_path / "credentials").stat().st_mode & 0o777 == 0o700
    assert files["ssh_key"].read_text() == f"{KEY}\n"
    assert environ == {
        "PATH": "/bin",
        "LEPTON_WORKSPACE_TOKEN": "lepton-token",
        "EVALDOCK_SSH_CONFIG": str(files["ssh_config"]),
        "RAY_AUTH_TOKEN_PATH": str(files["ray_token"]),
    }
    assert files["ray_token"].read_text() == "ray-token\n"
    assert f"UserKnownHostsFile {files['known_hosts']}" in files["ssh_config"].read_text()
    for name in ("EVALDOCK_SSH_KEY", "RAY_AUTH_TOKEN", "EVALDOCK_TOKEN"):
        assert name not in os.environ
    credentials.remove(tmp_path)
    credentials.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_given_makes_nothing(tmp_path: Path) -> None:
    environ, token = credentials.hand_over({"EVALDOCK_SSH_KEY": "", "PATH": "/bin"}, tmp_path)
    assert (environ, token) == ({"PATH": "/bin"}, "")
    assert list(tmp_path.iterdir()) == []


def test_a_key_without_its_hosts_is_a_mistake(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="KNOWN_HOSTS isn't"):
        credentials.hand_over({**given, "EVALDOCK_SSH_KNOWN_HOSTS": " "}, tmp_path)
