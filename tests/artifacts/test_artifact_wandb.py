"""A project of Weights & Biases as a registry: its own client, and a server that answers it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from artifacts.wandb_server import ENTITY, PROJECT, Project, serving
from catalog.cli import root
from catalog.errors import Refused, Unreachable, UsageError
from launcher.artifacts import open_registry, resolve
from launcher.artifacts.names import ArtifactDamaged, ArtifactNotFound, ArtifactRef, VersionNotFound
from launcher.artifacts.opening import VARIABLE, open_to_publish
from launcher.artifacts.versions import Artifacts, fetch
from launcher.artifacts.wandb import WandbRegistry

OLD = {"config.json": b'{"layers": 2}\n', "shards/1.bin": bytes(5000)}
NEW = {"config.json": b'{"layers": 3}\n'}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, own_environment: Path) -> Iterator[Project]:
    pytest.importorskip("wandb")
    monkeypatch.setenv(VARIABLE, f"wandb://{ENTITY}/{PROJECT}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(own_environment / "wandb"))
    with serving(Project({"llama": [OLD, NEW]}, {"llama:best": "v0"})) as served:
        monkeypatch.setenv("WANDB_BASE_URL", served.url)
        yield served


@pytest.fixture
def registry(project: Project) -> Artifacts:
    return open_registry()


def find(registry: Artifacts, text: str) -> str:
    return str(registry.find(ArtifactRef.parse(text)))


def test_versions_and_aliases_are_those_of_the_project(registry: Artifacts) -> None:
    found = [find(registry, text) for text in ("llama", "llama:v0", "llama:best", "llama:latest")]
    assert found == ["llama:v1", "llama:v0", "llama:v0", "llama:v1"]
    assert registry.names() == ["llama"]
    newest, oldest = registry.versions("llama")
    assert (str(newest), str(oldest), oldest.aliases) == ("llama:v1", "llama:v0", ("best",))
    assert (oldest.type, oldest.description, oldest.size) == ("weights", "as trained", 5014)


def test_files_are_fetched_and_checked(registry: Artifacts, tmp_path: Path) -> None:
    version = registry.find(ArtifactRef.parse("llama:best"))
    fetch(registry, version, tmp_path / "got")
    assert {name: (tmp_path / "got" / name).read_bytes() for name in OLD} == OLD


def test_a_damaged_file_is_not_given_out(project: Project, registry: Artifacts, tmp_path: Path) -> None:
    project.damaged = True
    version = registry.find(ArtifactRef.parse("llama:best"))
    with pytest.raises((ArtifactDamaged, Unreachable)):
        fetch(registry, version, tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_a_configuration_gets_a_folder_of_the_cache(
    registry: Artifacts, project: Project, own_environment: Path
) -> None:
    found = resolve("llama:best/config.json")
    assert found.startswith(str(own_environment / "evaldock-cache"))
    assert Path(found).read_bytes() == OLD["config.json"]
    sent = project.sent
    assert resolve("llama:best/config.json") == found
    assert project.sent == sent
    assert resolve("llama:best", "uri") == "art://llama:v0"


def test_missing_things_are_named(registry: Artifacts) -> None:
    with pytest.raises(ArtifactNotFound, match=r"no artifact 'lama'; did you mean 'llama'"):
        find(registry, "lama")
    with pytest.raises(VersionNotFound, match="has no version 'v7'"):
        find(registry, "llama:v7")
    with pytest.raises(ArtifactNotFound, match="has no file 'x'"):
        registry.open(registry.find(ArtifactRef.parse("llama")), "x")


def test_commands_read_and_do_not_write(project: Project) -> None:
    answer = CliRunner().invoke(root(), ["artifact", "ls", "--json"])
    assert [each["at"] for each in json.loads(answer.stdout)] == [f"wandb://{ENTITY}/{PROJECT}/llama:v1"]
    assert project.sent == 0
    with pytest.raises(Refused) as refused:
        open_to_publish()
    assert refused.value.hint == f"`wandb artifact put --name {ENTITY}/{PROJECT}/NAME PATH` publishes there"


def test_a_key_that_the_server_does_not_know(project: Project) -> None:
    project.welcome = False
    with pytest.raises(Unreachable, match="Weights & Biases can't be asked: Failed to verify"):
        find(open_registry(), "llama")


@pytest.mark.parametrize("place", ["team", "team/", "te am/x"])
def test_places_that_are_no_project(place: str) -> None:
    with pytest.raises(UsageError):
        WandbRegistry(place)


def test_a_missing_client_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv(VARIABLE, "wandb://team/proj")
    with pytest.raises(UsageError) as missing:
        open_registry()
    assert missing.value.hint == "pip install 'evaldock[wandb]'"
