"""Sidecars: three places, one answer; and lies, which are passed over."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from catalog.errors import Refused
from catalog.references import Digest
from generator.answer import FoundFile, ReadAnswer, Status
from generator.images.source import Cost
from generator.registry.source import RegistrySource
from generator.sidecar import ANNOTATION, ARTIFACT_TYPE, SidecarFiles, make, read_sidecar
from services.fake_registry import FakeRegistry

Open = Callable[[str], RegistrySource]
PATTERN = "/opt/metadata/**/framework.yml"
TEXT = "framework:\n  name: \N{SNOWMAN}\n".encode()


class Case:
    """An image with two layers, and files that are said to be in it."""

    def __init__(self, fake: FakeRegistry, open_source: Open) -> None:
        self.fake = fake
        self.open = open_source
        self.layers = [fake.add_blob("a/b", name.encode()) for name in ("base", "top")]
        self.made = fake.add_image("a/b", self.layers, tag="1")
        self.source = open_source(fake.reference("a/b", tag="1"))
        self.image = self.source.resolve(None)
        fake.reset()

    def files(self, *contents: bytes) -> tuple[FoundFile, ...]:
        return tuple(
            FoundFile(
                path=f"/opt/metadata/{number}/framework.yml",
                layer=self.image.layers[number % 2].digest,
                sha256=Digest.of(content).hex,
                content=content,
            )
            for number, content in enumerate(contents)
        )

    def answer(self, *contents: bytes, **changes: Any) -> ReadAnswer:
        answer = ReadAnswer(
            image="a/b:1",
            digest=self.image.digest,
            manifest_digest=self.image.manifest_digest,
            platform=self.image.platform,
            platforms=self.image.platforms,
            status=Status.FOUND if contents else Status.ABSENT,
            complete=True,
            unread=(),
            route="scan",
            verification="digest",
            cost=Cost(),
            files=self.files(*contents),
        )
        return dataclasses.replace(answer, **changes)

    def document(self, *contents: bytes) -> dict[str, Any]:
        value = json.loads(make(self.answer(*contents), self.image, PATTERN))
        assert isinstance(value, dict)
        return value

    def attach(self, document: Mapping[str, Any] | bytes, place: str = "annotation") -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        annotations = {ANNOTATION: data.decode()} if place == "annotation" else {}
        blobs = [self.fake.add_blob("a/b", data, ARTIFACT_TYPE)] if place == "layer" else []
        self.fake.add_artifact("a/b", self.made, ARTIFACT_TYPE, blobs=blobs, annotations=annotations)

    def read(self, pattern: str = PATTERN) -> tuple[bytes, ...] | None:
        found = read_sidecar(self.source, self.image, pattern)
        return tuple(file.content for file in found.files) if found else None


@pytest.fixture
def case(fake: FakeRegistry, open_source: Open) -> Case:
    return Case(fake, open_source)


@pytest.mark.parametrize("api", [True, False])
@pytest.mark.parametrize(("place", "requests"), [("annotation", 1), ("layer", 3)])
def test_attached(case: Case, place: str, requests: int, api: bool) -> None:
    case.fake.referrers = api
    case.attach(case.document(TEXT, b"\xff\x00"), place)
    found = read_sidecar(case.source, case.image, PATTERN)
    assert found == SidecarFiles(files=case.files(TEXT, b"\xff\x00"))
    assert len(case.fake.log) == requests + (not api)


def test_annotations_that_the_list_leaves_out(case: Case) -> None:
    case.attach(case.document(TEXT))
    case.fake.referrers_annotations = False
    assert case.read() == (TEXT,)
    assert len(case.fake.log) == 2


def test_in_the_images_own_manifest(case: Case) -> None:
    document = case.document(TEXT)
    del document["manifest"]
    case.fake.add_image("a/b", case.layers, tag="own", annotations={ANNOTATION: json.dumps(document)})
    source = case.open(case.fake.reference("a/b", tag="own"))
    image = source.resolve(None)
    case.fake.reset()
    assert read_sidecar(source, image, PATTERN) == SidecarFiles(files=case.files(TEXT))
    assert not case.fake.log


def test_an_annotation_inherited_from_a_base_image(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    document = case.document(TEXT)
    del document["manifest"]
    layers = [*case.layers, case.fake.add_blob("a/b", b"built on top")]
    case.fake.add_image("a/b", layers, tag="child", annotations={ANNOTATION: json.dumps(document)})
    source = case.open(case.fake.reference("a/b", tag="child"))
    assert read_sidecar(source, source.resolve(None), PATTERN) is None
    assert "it was made from other layers than the image's" in caplog.text


def test_proved_absent(case: Case) -> None:
    case.attach(case.document())
    assert case.read() == ()


def test_none(case: Case) -> None:
    assert case.read() is None


def test_about_other_files(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.attach(case.document(TEXT))
    assert case.read("/etc/os-release") is None
    assert not caplog.text


def change(document: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**document, **values}


def change_file(document: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**document, "files": [{**document["files"][0], **values}]}


HEX = Digest.of(b"other").hex
LIES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another manifest": (lambda d: change(d, manifest=f"sha256:{HEX}"), "it was made for another manifest"),
    "no manifest": (lambda d: change(d, manifest=None), "it was made for another manifest"),
    "another version": (lambda d: change(d, version=2), "its version is not known here"),
    "other layers": (lambda d: change(d, layers=d["layers"][:1]), "from other layers than the image's"),
    "no layers": (lambda d: change(d, layers=[]), "from other layers than the image's"),
    "a foreign layer": (lambda d: change_file(d, layer=f"sha256:{HEX}"), "not one of the image's"),
    "a layer that is none": (lambda d: change_file(d, layer=["x"]), "not one of the image's"),
    "another sha256": (lambda d: change_file(d, sha256=HEX), "doesn't have the sha256 that it names"),
    "other content": (lambda d: change_file(d, content="x"), "doesn't have the sha256 that it names"),
    "no content": (lambda d: change_file(d, content=None), "not a path, a layer, a sha256 and a content"),
    "no base64": (lambda d: change_file(d, encoding="base64", content="?"), "the content is not base64"),
    "an unknown encoding": (lambda d: change_file(d, encoding="rot13"), "unknown encoding 'rot13'"),
    "half a character": (lambda d: change_file(d, content="\udc80"), "the content is not utf-8"),
    "a relative path": (lambda d: change_file(d, path="opt/x"), "looked for: 'opt/x'"),
    "a path that climbs": (lambda d: change_file(d, path="/opt/../x"), "looked for: '/opt/../x'"),
    "something else": (lambda d: change_file(d, path="/etc/passwd"), "looked for: '/etc/passwd'"),
    "files twice": (lambda d: change(d, files=d["files"] * 2), "it names a file twice"),
    "files that are none": (lambda d: change(d, files=["x"]), "not a path, a layer, a sha256 and a content"),
    "no list": (lambda d: change(d, files={}), "its files are not a list, or too many"),
    "too many": (lambda d: change(d, files=[None] * 1001), "its files are not a list, or too many"),
    "a large file": (lambda d: change_file(d, content="x" * 1_048_577), "at most 1048576 are read"),
    "no object": (lambda _: b"[]", "the sidecar is not a JSON object"),
    "no JSON": (lambda _: b"{", "the sidecar is not JSON"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_passed_over(case: Case, caplog: pytest.LogCaptureFixture, lie: str) -> None:
    tell, warning = LIES[lie]
    case.attach(tell(case.document(TEXT)))
    assert case.read() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert warning in record.getMessage()


def test_the_truth_beside_a_lie_is_found(case: Case) -> None:
    case.attach(change(case.document(TEXT), manifest=f"sha256:{HEX}"))
    case.attach(case.document(TEXT))
    assert case.read() == (TEXT,)


def test_contradictions_are_not_decided(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.attach(case.document(TEXT))
    case.attach(case.document(b"something else"))
    assert case.read() is None
    assert "contradict each other" in caplog.text


def test_the_same_said_twice(case: Case) -> None:
    case.attach(case.document(TEXT))
    case.attach(case.document(TEXT), "layer")
    assert case.read() == (TEXT,)


def test_an_artifact_listed_for_the_wrong_image(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """A fallback tag is an index that anybody with write access makes: it can list what refers elsewhere."""
    case.fake.referrers = False
    other = case.fake.add_image("a/b", [], tag="other")
    blob = case.fake.add_blob("a/b", json.dumps(case.document(TEXT)).encode(), ARTIFACT_TYPE)
    listed = case.fake.add_artifact("a/b", other, ARTIFACT_TYPE, blobs=[blob])
    tag = case.made["digest"].replace(":", "-")
    case.fake.add_index("a/b", [{**listed, "artifactType": ARTIFACT_TYPE}], tag=tag)
    assert case.read() is None
    assert "it belongs to another image" in caplog.text


@pytest.mark.parametrize(
    "blobs",
    [
        [],
        [{"mediaType": ARTIFACT_TYPE, "digest": f"sha256:{HEX}", "size": 4_194_305}],
        [{"mediaType": ARTIFACT_TYPE, "digest": f"sha256:{HEX}", "size": 5}] * 2,
        [{"mediaType": "text/plain", "digest": f"sha256:{HEX}", "size": 5}],
    ],
)
def test_artifacts_without_a_document(
    case: Case, caplog: pytest.LogCaptureFixture, blobs: list[dict[str, Any]]
) -> None:
    case.fake.add_artifact("a/b", case.made, ARTIFACT_TYPE, blobs=blobs)
    assert case.read() is None
    assert "it has no layer that could be its document" in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "/referrers/", "status": 503},
        {"match": "/blobs/", "status": 404},
        {"match": "/blobs/", "corrupt": True},
        {"match": "/manifests/", "status": 500},
    ],
    ids=str,
)
def test_trouble_is_no_obstacle(case: Case, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]) -> None:
    case.attach(case.document(TEXT), "layer")
    case.fake.inject(**fault)
    assert case.read() is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_the_same_answer_makes_the_same_bytes(case: Case) -> None:
    answer = case.answer(TEXT, b"x")
    shuffled = dataclasses.replace(answer, files=tuple(reversed(answer.files)))
    assert make(answer, case.image, PATTERN) == make(shuffled, case.image, PATTERN)


def test_paths_that_are_not_utf8_survive(case: Case) -> None:
    (file,) = case.files(TEXT)
    odd = dataclasses.replace(file, path="/opt/metadata/\udcff/framework.yml")
    case.attach(make(case.answer(TEXT, files=(odd,)), case.image, PATTERN), "layer")
    assert read_sidecar(case.source, case.image, PATTERN) == SidecarFiles(files=(odd,))


@pytest.mark.parametrize("changes", [{"complete": False}, {"status": Status.UNKNOWN}])
def test_half_knowledge_makes_no_sidecar(case: Case, changes: dict[str, Any]) -> None:
    answer = case.answer(TEXT, **changes)
    with pytest.raises(Refused, match="the image was not read completely"):
        make(answer, case.image, PATTERN)


def test_too_much_for_a_sidecar(case: Case) -> None:
    answer = case.answer(*(b"x" * 1_000_000 for _ in range(5)))
    with pytest.raises(Refused, match="at most 4194304 are read"):
        make(answer, case.image, PATTERN)
