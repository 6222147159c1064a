"""Publishing, finding and fetching versions, with many publishers at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from artifacts.publishers import PUBLISH, REPOSITORY, lost, publish_at_once
from catalog.errors import Refused, UsageError
from launcher.artifacts.names import ArtifactDamaged, ArtifactNotFound, ArtifactRef, VersionNotFound
from launcher.artifacts.registry import Registry
from launcher.artifacts.store import Store
from launcher.artifacts.versions import fetch

FILES = ["config.json", "shards/1.bin", "shards/2.bin"]


@pytest.fixture(params=["file", "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """On each of the file systems that fsspec brings itself."""
    url = str(tmp_path / "registry") if request.param == "file" else f"memory://{uuid4().hex}/registry"
    made = Registry(Store(url))
    yield made
    if request.param == "memory":
        made.store.fs.rm(made.store.root.rsplit("/", 1)[0], recursive=True)


def find(registry: Registry, text: str) -> str:
    return str(registry.find(ArtifactRef.parse(text)))


def test_versions_are_counted_and_latest_is_the_newest(anywhere: Registry, model: Path) -> None:
    first = anywhere.put("llama", model, type="weights", made_by="0abc-001", description="as trained")
    second = anywhere.put("llama", model / "config.json")
    assert [str(first), str(second)] == ["llama:v1", "llama:v2"]
    assert (find(anywhere, "llama"), find(anywhere, "llama:latest")) == ("llama:v2", "llama:v2")
    assert anywhere.names() == ["llama"]
    assert anywhere.versions("llama") == [second, first]
    assert (first.type, first.made_by, first.description) == ("weights", "0abc-001", "as trained")
    assert (list(first.files), first.size) == (FILES, 15254)
    assert list(second.files) == ["config.json"]


def test_the_same_files_have_the_same_digest(anywhere: Registry, model: Path) -> None:
    one, two = anywhere.put("a", model), anywhere.put("b", model)
    (model / "config.json").write_text("{}")
    assert one.digest == two.digest != anywhere.put("a", model).digest


def test_aliases_can_be_given_and_moved(anywhere: Registry, model: Path) -> None:
    anywhere.put("llama", model, aliases=["best", "nightly"])
    anywhere.put("llama", model)
    moved = anywhere.alias(ArtifactRef.parse("llama:v2"), "best")
    assert moved.aliases == ("best",)
    assert (find(anywhere, "llama:best"), find(anywhere, "llama:nightly")) == ("llama:v2", "llama:v1")
    assert [version.aliases for version in anywhere.versions("llama")] == [("best",), ("nightly",)]


def test_what_is_fetched_is_what_was_published(anywhere: Registry, model: Path, tmp_path: Path) -> None:
    version = anywhere.put("llama", model)
    assert len(fetch(anywhere, version, tmp_path / "got")) == 3
    for name in FILES:
        assert (tmp_path / "got" / name).read_bytes() == (model / name).read_bytes()
    assert fetch(anywhere, version, tmp_path / "shards", "shards") == [
        tmp_path / "shards" / "1.bin",
        tmp_path / "shards" / "2.bin",
    ]
    assert fetch(anywhere, version, tmp_path / "one.json", "config.json") == [tmp_path / "one.json"]
    assert (tmp_path / "one.json").read_text() == '{"layers": 2}\n'
    with pytest.raises(Refused, match=r"one\.json is already there"):
        fetch(anywhere, version, tmp_path / "one.json", "config.json")


def test_missing_things_name_what_is_near(registry: Registry, model: Path, tmp_path: Path) -> None:
    version = registry.put("llama", model, aliases=["best"])
    with pytest.raises(ArtifactNotFound) as missing:
        find(registry, "lama")
    assert str(missing.value) == (
        f"{tmp_path / 'registry'}: no artifact 'lama'; did you mean 'llama'?\n"
        "  `evaldock artifact ls` lists them, `evaldock artifact put` publishes one"
    )
    with pytest.raises(VersionNotFound) as missing:
        find(registry, "llama:bets")
    assert str(missing.value) == (
        "artifact 'llama' has no version 'bets'; did you mean 'best'?\n  there are: latest, best, v1"
    )
    with pytest.raises(VersionNotFound, match="no version 'v7'"):
        find(registry, "llama:v7")
    with pytest.raises(ArtifactNotFound, match=r"llama:v1 has no file or folder 'shard'"):
        fetch(registry, version, tmp_path / "got", "shard")
    with pytest.raises(ArtifactNotFound, match=r"no file 'config\.jsn'; did you mean 'config\.json'"):
        registry.open(version, "config.jsn")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a name for an artifact: ''"),
        ("a b", "not a name for an artifact: 'a b'"),
        ("-a", "not a name for an artifact"),
        ("name:", "no version after the colon"),
        ("name:v 1", "not a name for a version"),
        ("name/../other", "not a path inside an artifact"),
    ],
)
def test_names_that_can_not_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ArtifactRef.parse(text)


def test_names_as_people_write_them() -> None:
    assert ArtifactRef.parse("art://llama:v3/a//b/") == ArtifactRef("llama", "v3", "a/b")
    assert ArtifactRef.parse("llama") == ArtifactRef("llama", "latest", "")
    assert str(ArtifactRef.parse("llama/x.json")) == "llama:latest/x.json"


@pytest.mark.parametrize("alias", ["latest", "v3", "v03", "a/b", ""])
def test_aliases_that_already_mean_something(registry: Registry, model: Path, alias: str) -> None:
    with pytest.raises(UsageError):
        registry.put("llama", model, aliases=[alias])
    assert registry.names() == []


def test_what_can_not_be_published(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked" / "real").mkdir(parents=True)
    (tmp_path / "linked" / "link").symlink_to("real")
    with pytest.raises(UsageError, match="holds no files"):
        registry.put("a", tmp_path / "empty")
    with pytest.raises(ArtifactNotFound, match="nothing to publish at"):
        registry.put("a", tmp_path / "nothing")
    with pytest.raises(Refused, match=r"link .*/linked/link leads to a folder"):
        registry.put("a", tmp_path / "linked")
    os.mkfifo(tmp_path / "linked" / "real" / "pipe")
    (tmp_path / "linked" / "link").unlink()
    with pytest.raises(Refused, match="pipe is not a file"):
        registry.put("a", tmp_path / "linked")
    Path(os.fsdecode(bytes(tmp_path) + b"/empty/\xff")).touch()
    with pytest.raises(Refused, match="is not a name in UTF-8"):
        registry.put("a", tmp_path / "empty")
    assert registry.names() == []


def test_a_link_to_a_file_is_published_as_the_file(registry: Registry, model: Path, tmp_path: Path) -> None:
    (model / "link.json").symlink_to("config.json")
    fetch(registry, registry.put("llama", model), tmp_path / "got")
    assert not (tmp_path / "got" / "link.json").is_symlink()
    assert (tmp_path / "got" / "link.json").read_text() == '{"layers": 2}\n'


def test_processes_that_publish_at_once_lose_nothing(registry: Registry, tmp_path: Path) -> None:
    made = publish_at_once(tmp_path, processes=5, each=8)
    assert sorted(made) == sorted(f"llama:v{number}" for number in range(1, 41))
    assert lost(registry, made) == []


def test_threads_that_publish_at_once_lose_nothing_in_memory(tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    for number in range(20):
        (tmp_path / str(number)).write_text(str(number))

    def publish(number: int) -> int:
        return Registry(Store(url)).put("llama", tmp_path / str(number)).number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(publish, range(20)))
    assert sorted(numbers) == list(range(1, 21))
    Store(url).fs.rm(Store(url).root, recursive=True)


def test_a_publisher_that_was_killed_leaves_no_version(
    registry: Registry, tmp_path: Path, model: Path
) -> None:
    registry.put("llama", model)
    code = f"""
from launcher.artifacts.store import Store
from launcher.artifacts.versions import fetch
import time
put = Store.put
def slow(self, *arguments):
    answer = put(self, *arguments)
    print("written", flush=True)
    time.sleep(60)
    return answer
Store.put = slow
{PUBLISH}"""
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "text"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "written\n"
    assert find(registry, "llama") == "llama:v1"
    started.send_signal(signal.SIGKILL)
    started.communicate(timeout=60)
    assert (tmp_path / "registry" / "llama" / "v2" / "text").exists()
    assert find(registry, "llama") == "llama:v1"
    assert str(registry.put("llama", model)) == "llama:v3"
    assert [version.number for version in registry.versions("llama")] == [3, 1]


def test_a_failing_publication_leaves_no_files(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.put

    def put(self: Store, file: Path, name: str, moved: Callable[[int], None]) -> tuple[str, int]:
        if file.name == "2.bin":
            raise OSError(28, "No space left on device")
        return real(self, file, name, moved)

    monkeypatch.setattr(Store, "put", put)
    with pytest.raises(OSError, match="No space left"):
        registry.put("llama", model)
    left = sorted(path.name for path in Path(registry.store.path("llama")).iterdir())
    assert left == ["v1.claim"]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_damaged_files_are_not_given_out(
    registry: Registry, model: Path, tmp_path: Path, damage: str
) -> None:
    version = registry.put("llama", model)
    stored = Path(registry.address(version, "shards/1.bin"))
    data = stored.read_bytes()
    stored.write_bytes({"changed": b"X" + data[1:], "cut": data[:-1], "gone": b""}[damage])
    if damage == "gone":
        stored.unlink()
    with pytest.raises(ArtifactDamaged, match=r"shards/1\.bin"):
        fetch(registry, version, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "registry"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "files": []}'])
def test_a_description_that_is_none_is_said_to_be_damaged(registry: Registry, model: Path, text: str) -> None:
    registry.put("llama", model)
    description = Path(registry.store.path("llama/v1.json"))
    assert json.loads(description.read_text())["format"] == 1
    description.write_text(text)
    with pytest.raises(ArtifactDamaged, match="not an artifact's description"):
        find(registry, "llama")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a//x", "./x", ""])
def test_names_of_files_that_lead_out_of_a_version(registry: Registry, model: Path, name: str) -> None:
    registry.put("llama", model)
    description = Path(registry.store.path("llama/v1.json"))
    described = json.loads(description.read_text())
    described["files"][name] = described["files"].pop("config.json")
    description.write_text(json.dumps(described))
    with pytest.raises(ArtifactDamaged, match="names a file that it can't hold"):
        find(registry, "llama")


@pytest.mark.parametrize("place", ["odd://x", "art://llama"])
def test_places_that_can_not_be_one(place: str) -> None:
    with pytest.raises(UsageError, match=f"not a place for artifacts: '{place}'"):
        Store(place)


def test_a_place_whose_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError) as missing:
        Store("s3://bucket/prefix")
    assert missing.value.hint == "pip install 'evaldock[s3]'"


def test_time_is_of_the_publication(registry: Registry, model: Path) -> None:
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert before <= registry.put("llama", model).created
