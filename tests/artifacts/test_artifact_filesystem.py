"""`art://` as libraries use it: through fsspec, which finds it by its entry point."""

from __future__ import annotations

import io
from pathlib import Path

import fsspec
import pytest

from catalog.errors import UsageError
from launcher.artifacts import reading
from launcher.artifacts.filesystem import ArtifactFileSystem
from launcher.artifacts.names import ArtifactDamaged
from launcher.artifacts.reading import verified
from launcher.artifacts.registry import Registry


@pytest.fixture
def published(registry: Registry, model: Path) -> Registry:
    registry.put("llama", model, aliases=["best"])
    (model / "config.json").write_text('{"layers": 3}\n')
    registry.put("llama", model)
    return registry


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("", '{"layers": 3}\n'),
        (":v1", '{"layers": 2}\n'),
        (":best", '{"layers": 2}\n'),
        (":latest", '{"layers": 3}\n'),
    ],
)
def test_a_file_by_version_alias_or_neither(published: Registry, version: str, text: str) -> None:
    with fsspec.open(f"art://llama{version}/config.json", "r") as file:
        assert file.read() == text


def test_looking_around(published: Registry) -> None:
    fs = fsspec.filesystem("art")
    assert fs.ls("", detail=False) == ["llama"]
    assert fs.ls("art://llama", detail=False) == ["llama/config.json", "llama/shards"]
    assert fs.ls("llama:v1/shards/1.bin", detail=False) == ["llama:v1/shards/1.bin"]
    assert fs.glob("art://llama:v1/shards/*.bin") == ["llama:v1/shards/1.bin", "llama:v1/shards/2.bin"]
    assert fs.find("llama") == ["llama/config.json", "llama/shards/1.bin", "llama/shards/2.bin"]
    assert (fs.isdir("llama/shards"), fs.isfile("llama/shards")) == (True, False)
    assert fs.du("llama:best") == 15254
    info = fs.info("llama:best/config.json")
    assert (info["type"], info["size"], info["version"]) == ("file", 14, "v1")
    assert len(info["checksum"]) == 71
    assert [file.path for file in fsspec.open_files("art://llama/shards/*.bin")] == [
        "llama/shards/1.bin",
        "llama/shards/2.bin",
    ]


@pytest.mark.parametrize(
    "path", ["lama", "llama:v9", "llama/nothing", "llama/shards/3.bin", "llama:v9/config.json"]
)
def test_what_is_not_there_is_a_missing_file(published: Registry, path: str) -> None:
    fs = fsspec.filesystem("art")
    assert not fs.exists(path)
    for ask in (fs.info, fs.ls, fs.open):
        with pytest.raises(FileNotFoundError):
            ask(path)


def test_ranges_copies_and_maps(published: Registry, tmp_path: Path, model: Path) -> None:
    fs = fsspec.filesystem("art")
    assert fs.cat_file("llama/shards/1.bin", start=250, end=260) == bytes([*range(250, 256), *range(4)])
    fs.get("art://llama:v1/", str(tmp_path / "copy"), recursive=True)
    assert (tmp_path / "copy" / "shards" / "2.bin").read_bytes() == b"\xff" * 5000
    assert fsspec.get_mapper("art://llama")["config.json"] == b'{"layers": 3}\n'


@pytest.mark.parametrize(
    "attempt",
    [
        lambda fs: fs.open("llama/x", "wb"),
        lambda fs: fs.open("llama/config.json", "ab"),
        lambda fs: fs.pipe_file("llama/x", b""),
        lambda fs: fs.pipe("llama/x", b""),
        lambda fs: fs.rm("llama", recursive=True),
        lambda fs: fs.rm_file("llama/config.json"),
        lambda fs: fs.mkdir("new"),
        lambda fs: fs.makedirs("new/x", exist_ok=True),
        lambda fs: fs.touch("llama/x"),
        lambda fs: fs.mv("llama/config.json", "llama/x"),
        lambda fs: fs.copy("llama/config.json", "llama/x"),
        lambda fs: fs.put(__file__, "llama/x"),
    ],
)
def test_nothing_can_be_written(published: Registry, attempt) -> None:  # type: ignore[no-untyped-def] # lambdas
    with pytest.raises(OSError, match="art:// is read-only"):
        attempt(fsspec.filesystem("art"))
    assert fsspec.filesystem("art").find("llama") == [
        "llama/config.json",
        "llama/shards/1.bin",
        "llama/shards/2.bin",
    ]


def test_paths_that_lead_out_of_an_artifact(published: Registry) -> None:
    with pytest.raises(UsageError, match="not a path inside an artifact"):
        fsspec.filesystem("art").open("llama/../../etc/passwd")


def test_a_registry_of_ones_own(published: Registry, tmp_path: Path, model: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ArtifactFileSystem(registry=str(tmp_path / "other")).info("llama")


def test_a_small_file_is_checked_before_it_is_read(published: Registry) -> None:
    stored = Path(published.store.path("llama/v2/config.json"))
    stored.write_text('{"layers": 4}\n')
    with pytest.raises(ArtifactDamaged):
        fsspec.open("art://llama/config.json").open()


@pytest.fixture
def large(published: Registry, monkeypatch: pytest.MonkeyPatch) -> Path:
    """1.bin counts as large, and its last byte but one is wrong."""
    monkeypatch.setattr(reading, "SMALL", 1000)
    monkeypatch.setattr(reading, "_CHUNK", 1000)
    stored = Path(published.store.path("llama/v2/shards/1.bin"))
    data = stored.read_bytes()
    stored.write_bytes(data[:-2] + b"X" + data[-1:])
    return stored


def test_a_large_file_is_checked_while_it_is_read(large: Path, tmp_path: Path) -> None:
    fs = fsspec.filesystem("art")
    with fs.open("llama/shards/1.bin") as file:
        assert file.read(9000)
        with pytest.raises(ArtifactDamaged):
            file.read()
    with pytest.raises(ArtifactDamaged):
        fs.get_file("llama/shards/1.bin", str(tmp_path / "copy"))


def test_a_large_file_can_be_checked_first(large: Path) -> None:
    with pytest.raises(ArtifactDamaged):
        fsspec.filesystem("art", verify=True).open("llama/shards/1.bin")
    with fsspec.filesystem("art", verify=True).open("llama:v1/shards/1.bin") as file:
        assert file.read(3) == b"\0\1\2"


def test_a_large_file_of_another_size_is_not_opened(large: Path) -> None:
    large.write_bytes(large.read_bytes()[:-1])
    with pytest.raises(ArtifactDamaged):
        fsspec.filesystem("art").open("llama/shards/1.bin")


def test_jumping_about_in_a_large_file(large: Path) -> None:
    data = large.read_bytes()
    with fsspec.filesystem("art").open("llama/shards/1.bin") as file:
        for at in (5000, 0, 9999, 30):
            file.seek(at)
            assert file.read(10) == data[at : at + 10]
        file.seek(-3, io.SEEK_END)
        assert file.read() == data[-3:]
        # From the beginning to the end after all.
        file.seek(0)
        with pytest.raises(ArtifactDamaged):
            file.read()


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SMALL", 10)
    monkeypatch.setattr(reading, "_CHUNK", 10)
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    with verified(path.open("rb", buffering=0), "sha256:" + "0" * 64, 100, "x") as file:
        file.read(10)
        path.write_bytes(b"")
        with pytest.raises(ArtifactDamaged):
            file.read()
