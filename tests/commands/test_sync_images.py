"""`evaldock sync`: what is read of images of every kind."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from catalog import store
from catalog.models import EntryState
from commands.conftest import Place
from harness_images import framework, lay_out, path_of, push
from running import evaldock


def test_an_image_without_a_framework_file_is_an_error(place: Place) -> None:
    push(place.registry, "maths", {"etc/other": b""})
    place.write("maths")
    ran = place.sync()
    assert ran.code == 3
    assert "the image holds no framework.yml; all of its layers were read" in ran.err


@pytest.fixture
def large(place: Place) -> Place:
    """An image whose framework file is in a layer too large to be read by default, and without a hint."""
    noise = random.Random(1).randbytes(9 << 20)
    files = {"opt/noise": noise, path_of("maths"): framework("maths", "algebra")}
    layers = [
        place.registry.add_layer("maths", files),
        place.registry.add_layer("maths", {"etc/os-release": b""}),
    ]
    place.registry.add_image("maths", layers, tag="1.0")
    place.write("maths")
    return place


def test_a_file_in_a_large_layer_that_nothing_hints_at_is_found(large: Place) -> None:
    assert large.sync().code == 0
    assert large.tasks() == ["maths.algebra"]


def test_a_read_on_record_as_incomplete_is_made_complete_when_asked(place: Place) -> None:
    noise = random.Random(1).randbytes(9 << 20)
    layers = [
        place.registry.add_layer("maths", {"opt/noise": noise}),
        place.registry.add_layer("maths", {path_of("maths"): framework("maths", "algebra")}),
    ]
    place.registry.add_image("maths", layers, tag="1.0")
    place.write("maths")
    assert "not every layer was read (`--complete` does) of: maths" in place.sync().out
    assert place.codes() == ["entry-incomplete"]
    assert place.sync("--json").json["entries"][0]["complete"] is False
    ran = place.sync("--json", "--complete").json["entries"][0]
    assert (ran["result"], ran["complete"]) == ("read", True)
    assert place.codes() == []
    assert place.sync("--json", "--complete").json["entries"][0]["result"] == "unchanged"


def test_one_image_may_hold_several_harnesses(place: Place) -> None:
    files = {path_of(name): framework(name, "x") for name in ("one", "two")}
    push(place.registry, "both", files)
    place.write("both")
    assert place.sync().code == 0
    assert place.tasks() == ["one.x", "two.x"]
    assert {harness.entry for harness in store.load(place.root).harnesses} == {"both"}


def test_equal_containers_are_read_once(place: Place) -> None:
    place.push("maths", "algebra")
    container = place.registry.reference("maths", tag="1.0")
    place.write(one=container)
    assert place.sync().code == 0
    alone = len(place.registry.log)
    (place.root / "ir" / "index.yaml").unlink()
    place.registry.reset()
    place.write(one=container, other=container)
    assert place.sync().code == 2  # both would hold the same harness
    assert len(place.registry.log) <= alone


def test_a_platform_chooses_the_image_of_an_index(place: Place) -> None:
    images = [
        place.registry.add_image(
            "maths",
            [place.registry.add_layer("maths", {path_of("maths"): framework("maths", f"on_{arch}")})],
            platform=f"linux/{arch}",
        )
        for arch in ("amd64", "arm64")
    ]
    place.registry.add_index("maths", images, tag="1.0")
    place.write("maths")
    assert place.sync().code == 0
    assert place.tasks() == ["maths.on_amd64"]
    mapping = place.root / "mapping.toml"
    mapping.write_text(mapping.read_text() + 'platform = "linux/arm64"\n')
    assert place.sync().code == 0
    assert place.tasks() == ["maths.on_arm64"]
    (harness,) = store.load(place.root).harnesses
    assert harness.image.architectures == ("amd64", "arm64")
    assert harness.image.manifest_digest == images[1]["digest"]


def test_what_was_imported_is_read_whatever_digest_it_came_with(place: Place) -> None:
    digest = place.push("maths", "algebra")
    place.write("maths")
    assert place.sync().code == 0
    # Another tool's word for the same image, as an import leaves it: no framework.yml was ever seen.
    (read,) = store.load(place.root).entries
    harness = replace(read.harnesses[0], sources=(), tasks=read.harnesses[0].tasks[:0])
    imported = replace(read, state=EntryState.IMPORTED, harnesses=(harness,))
    store.write(place.root, store.load(place.root).mapping_sha256, [imported])
    place.registry.inject(status=404, times=10)
    assert place.sync().code == 3
    assert place.codes() == ["entry-stale"]
    place.registry.reset()
    assert place.sync().code == 0
    assert place.tasks() == ["maths.algebra"]
    assert store.load(place.root).harnesses[0].image.digest == digest


def test_layouts_lie_relative_to_the_catalog(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.root.parent)
    lay_out(place.root / "images" / "maths", {path_of("maths"): framework("maths", "algebra")}, tag="1.0")
    place.write(maths="oci:images/maths:1.0")
    assert evaldock("sync", "--catalog", place.root.name).code == 0
    assert place.tasks() == ["maths.algebra"]
    text = (place.root / "ir" / "index.yaml").read_text()
    assert "oci:images/maths:1.0" in text
    assert str(place.root) not in text
    before = place.files()
    assert place.sync().code == 0
    assert place.files() == before


def test_an_image_is_listed_on_the_fly(place: Place) -> None:
    place.push("maths", "algebra", "sets")
    image = place.registry.reference("maths", tag="1.0")
    listed = evaldock("ls", "tasks", "--from", image, "--json")
    assert [one["id"] for one in listed.json] == ["maths.algebra", "maths.sets"]
    shown = evaldock("show", "sets", "--from", image, "--rendered")
    assert "run https://endpoint.example/v1/chat/completions --top-p 0.9" in shown.out
    missing = evaldock("show", "set", "--from", image)
    assert missing.code == 3
    assert "did you mean sets?" in missing.err


def test_on_the_fly_every_layer_is_read_before_nothing_is_said_to_be_there(large: Place) -> None:
    listed = evaldock("ls", "harnesses", "--from", large.registry.reference("maths", tag="1.0"), "--json")
    assert [one["name"] for one in listed.json] == ["maths"]
