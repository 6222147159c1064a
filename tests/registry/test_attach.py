"""`evaldock attach`: read once, pushed as a sidecar, found by the next reader."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path

import pytest

from generator.sidecar import ANNOTATION, ARTIFACT_TYPE
from image_parts import FRAMEWORK, Layer, Layout, member, tar
from running import evaldock
from services.fake_registry import FakeRegistry
from services.skopeo import Skopeo

CONTENT = b"framework:\n  name: sums\n"
# A sidecar is looked for where it can save something: not in images whose layers are small.
LARGE = {"filler": random.Random(1).randbytes(10_000_000)}


@pytest.fixture
def image(fake: FakeRegistry) -> str:
    base = fake.add_layer("team/sums", {"bin/sh": b"x" * 1000})
    top = fake.add_layer("team/sums", {**LARGE, FRAMEWORK: CONTENT})
    fake.add_image("team/sums", [base, top], tag="1")
    return fake.reference("team/sums", tag="1")


def forget(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A reader who knows nothing yet."""
    monkeypatch.setenv("EVALDOCK_CACHE", str(folder))


@pytest.mark.parametrize("api", [True, False])
def test_the_next_reader_opens_no_layer(
    fake: FakeRegistry, image: str, api: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.referrers = api
    before = evaldock("extract", image, "--json").json
    ran = evaldock("attach", image, "--json")
    assert (ran.code, ran.err) == (0, "")
    (attached,) = ran.json
    assert attached["artifact_type"] == ARTIFACT_TYPE
    assert attached["subject"] == before["digest"]
    assert [attached["present"], attached["inline"], attached["fallback"]] == [False, True, not api]
    assert attached["files"] == [
        {
            "path": f"/{FRAMEWORK}",
            "layer": before["files"][0]["layer"],
            "sha256": before["files"][0]["sha256"],
        }
    ]
    assert ("team/sums", attached["artifact"]) in fake.manifests

    forget(monkeypatch, tmp_path)
    fake.reset()
    after = evaldock("extract", image, "--json").json
    assert [after[key] for key in ("status", "complete", "route", "verification")] == [
        "found",
        True,
        "sidecar",
        "sidecar",
    ]
    assert after["files"] == before["files"]
    assert fake.count(before["files"][0]["layer"]) == 0


def test_attaching_again_changes_nothing(fake: FakeRegistry, image: str) -> None:
    evaldock("attach", image)
    manifests = dict(fake.manifests)
    again = evaldock("attach", image, "--path", "//opt/metadata/./**/framework.yml")
    assert again.code == 0
    assert again.out.endswith(": attached already\n")
    assert fake.manifests == manifests


def test_a_dry_run_pushes_nothing(fake: FakeRegistry, image: str) -> None:
    manifests, blobs = dict(fake.manifests), dict(fake.blobs)
    ran = evaldock("attach", image, "--dry-run", "--json")
    (planned,) = ran.json
    assert (ran.code, planned["artifact"], planned["present"]) == (0, None, False)
    told = evaldock("attach", image, "--dry-run").out
    assert told.startswith("linux/amd64: 1 file, ")
    assert told.endswith(f"would be attached to {planned['subject']}\n")
    assert (fake.manifests, fake.blobs) == (manifests, blobs)
    assert all(one.method in ("GET", "HEAD") for one in fake.log)


def test_every_platform_of_an_index(
    fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [
        fake.add_image(
            "team/sums",
            [fake.add_layer("team/sums", {**LARGE, FRAMEWORK: CONTENT + name.encode()})],
            platform=name,
        )
        for name in ("linux/amd64", "linux/arm64")
    ]
    fake.add_index("team/sums", images, tag="multi")
    reference = fake.reference("team/sums", tag="multi")
    ran = evaldock("attach", reference, "--json")
    assert [(one["platform"], one["subject"]) for one in ran.json] == [
        ("linux/amd64", images[0]["digest"]),
        ("linux/arm64", images[1]["digest"]),
    ]
    forget(monkeypatch, tmp_path)
    found = evaldock("extract", reference, "--platform", "linux/arm64", "--json").json
    assert (found["route"], found["files"][0]["content"]) == (
        "sidecar",
        (CONTENT + b"linux/arm64").decode(),
    )


def test_one_platform_only(fake: FakeRegistry) -> None:
    layer = fake.add_layer("team/sums", {FRAMEWORK: CONTENT})
    images = [fake.add_image("team/sums", [layer], platform=name) for name in ("linux/s390x", "linux/arm64")]
    fake.add_index("team/sums", images, tag="multi")
    ran = evaldock("attach", fake.reference("team/sums", tag="multi"), "--platform", "arm64", "--json")
    assert [one["platform"] for one in ran.json] == ["linux/arm64"]


def test_an_image_without_such_files_says_so(
    fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_image("team/none", [fake.add_layer("team/none", LARGE)], tag="1")
    reference = fake.reference("team/none", tag="1")
    assert evaldock("attach", reference).out.startswith("linux/amd64: 0 files, ")
    forget(monkeypatch, tmp_path)
    found = evaldock("extract", reference, "--json").json
    assert [found["status"], found["complete"], found["route"]] == ["absent", True, "sidecar"]


def test_a_lie_is_replaced_by_layers_and_told(
    fake: FakeRegistry, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone attaches other content with a hash that fits: beside the true sidecar, neither counts."""
    (attached,) = evaldock("attach", image, "--json").json
    artifact = json.loads(fake.manifests["team/sums", attached["artifact"]][1])
    document = json.loads(artifact["annotations"][ANNOTATION])
    lie = b"framework:\n  name: lies\n"
    document["files"][0].update(content=lie.decode(), sha256=hashlib.sha256(lie).hexdigest())
    artifact["annotations"][ANNOTATION] = json.dumps(document)
    fake.add_manifest("team/sums", artifact)
    forget(monkeypatch, tmp_path)
    found = evaldock("extract", image, "--json").json
    assert found["route"] != "sidecar"
    assert found["files"][0]["content"] == CONTENT.decode()


def test_layers_are_checked_before_others_believe_them(fake: FakeRegistry, image: str) -> None:
    fake.inject("/blobs/", corrupt=True)
    ran = evaldock("attach", image)
    assert ran.code == 5
    assert all(b'"subject"' not in raw for _, raw in fake.manifests.values())


@pytest.mark.parametrize("reference", ["oci:layout:1", "docker-daemon:sums:1"])
def test_only_registries_have_referrers(reference: str) -> None:
    ran = evaldock("attach", reference)
    assert ran.code == 2
    assert "is attached to an image in a registry" in ran.err


def test_no_such_image(fake: FakeRegistry) -> None:
    assert evaldock("attach", fake.reference("team/absent", tag="1")).code == 3


def test_without_oras(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "generator.registry.push", raising=False)
    monkeypatch.delattr("generator.registry.push", raising=False)
    monkeypatch.setitem(sys.modules, "oras", None)
    monkeypatch.setitem(sys.modules, "oras.oci", None)
    ran = evaldock("attach", image)
    assert ran.code == 2
    assert "pip install 'evaldock[push]'" in ran.err


@pytest.mark.service("registry", "skopeo")
def test_with_real_tools(
    registry: str, skopeo: Skopeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker-registry 2.8, an image that skopeo has pushed, and skopeo's own eyes on what was attached."""
    layout = Layout(tmp_path / "layout")
    layer = Layer.gzipped(tar(*(member(*one) for one in LARGE.items()), member(FRAMEWORK, CONTENT)))
    images = []
    for architecture in ("amd64", "arm64"):
        image = layout.manifest([layer], platform=f"linux/{architecture}")
        images.append({**image, "platform": {"os": "linux", "architecture": architecture}})
    layout.add(layout.index(images), "1")
    name = f"{registry}/attach/sums"
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{layout.root}:1", f"docker://{name}:1")
    ran = evaldock("attach", f"{name}:1", "--json")
    assert ran.code == 0, ran.err
    assert [(one["platform"], one["subject"], one["fallback"]) for one in ran.json] == [
        ("linux/amd64", images[0]["digest"], True),
        ("linux/arm64", images[1]["digest"], True),
    ]
    for attached in ran.json:
        tag = attached["subject"].replace(":", "-")
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:{tag}")
        (listed,) = json.loads(raw)["manifests"]
        assert (listed["digest"], listed["artifactType"]) == (attached["artifact"], ARTIFACT_TYPE)
    forget(monkeypatch, tmp_path / "cache")
    found = evaldock("extract", f"{name}:1", "--platform", "arm64", "--json").json
    assert (found["route"], found["files"][0]["content"]) == ("sidecar", CONTENT.decode())
    assert evaldock("attach", f"{name}:1").out.count("attached already\n") == 2
