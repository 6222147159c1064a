"""`evaldock extract` and `evaldock cache` as a shell sees them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from catalog.cachedir import cache_dir
from generator.commands import extract
from generator.layers.limits import Limits
from generator.reading import read_image
from image_parts import Layer, Layout, member, tar
from running import evaldock

X = "opt/metadata/x/framework.yml"
TEXT = b"framework:\n  name: x\n"
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("tag", layer, …)` gives an image's reference; a layer is a dict of files or an open Layer."""
    layout = Layout(tmp_path / "images")

    def one(tag: str, *layers: dict[str, bytes] | Layer) -> str:
        made = [
            layer
            if isinstance(layer, Layer)
            else Layer.gzipped(tar(*(member(name, data) for name, data in layer.items())))
            for layer in layers
        ]
        layout.image(*made, tag=tag)
        return f"oci:{layout.root}:{tag}"

    return one


def test_json_has_exactly_what_is_promised(make: Make) -> None:
    image = make("1", {"etc/x": b"x"}, {X: TEXT})
    ran = evaldock("extract", image, "--json")
    assert ran.code == 0
    [file] = ran.json["files"]
    assert file == {
        "path": f"/{X}",
        "layer": file["layer"],
        "sha256": hashlib.sha256(TEXT).hexdigest(),
        "content": TEXT.decode(),
    }
    assert ran.json == {
        "image": image,
        "digest": ran.json["digest"],
        "platform": "linux/amd64",
        "status": "found",
        "complete": True,
        "unread": [],
        "route": "layers",
        "verification": "digest",
        "cost": {"requests": 0, "bytes": ran.json["cost"]["bytes"]},
        "files": [file],
    }
    assert list(ran.json) == [
        *("image", "digest", "platform", "status", "complete", "unread"),
        *("route", "verification", "cost", "files"),
    ]


def test_content_that_is_no_text_says_how_it_is_encoded(make: Make) -> None:
    [file] = evaldock("extract", make("1", {X: b"\xff\x00"}), "--json").json["files"]
    assert file["encoding"] == "base64"
    assert base64.b64decode(file["content"]) == b"\xff\x00"
    shown = evaldock("extract", make("1", {X: b"\xff\x00"}))
    assert "# not UTF-8; --json prints it as base64" in shown.out


def test_an_image_without_the_file_is_an_answer(make: Make) -> None:
    image = make("1", {"etc/x": b"x"})
    ran = evaldock("extract", image, "--json")
    assert (ran.code, ran.json["status"], ran.json["files"], ran.json["complete"]) == (0, "absent", [], True)
    shown = evaldock("extract", image)
    assert (shown.code, "no such file in the image" in shown.out) == (0, True)


def test_what_is_printed_is_yaml(make: Make) -> None:
    image = make("1", {X: TEXT, "opt/metadata/y/framework.yml": b"framework: {name: y}"})
    ran = evaldock("extract", image)
    assert list(yaml.safe_load_all(ran.out)) == [
        {"framework": {"name": "x"}},
        {"framework": {"name": "y"}},
    ]
    assert f"# /{X}" in ran.out


def test_a_file_can_not_play_tricks_on_a_terminal(make: Make) -> None:
    ran = evaldock("extract", make("1", {"opt/metadata/\x1b[2J/framework.yml": b"a: \x1b]0;title\x07\n"}))
    assert "\x1b" not in ran.out
    assert "\\x1b[2J" in ran.out


def test_other_files(make: Make) -> None:
    image = make("1", {"etc/os-release": b"NAME=x\n", X: TEXT})
    ran = evaldock("extract", image, "--path", "/etc/os-release", "--json")
    assert [file["content"] for file in ran.json["files"]] == ["NAME=x\n"]


def test_several_images_one_of_which_is_missing(make: Make, tmp_path: Path) -> None:
    images = [make("1", {X: TEXT}), f"oci:{tmp_path / 'images'}:none", make("2", {"etc/x": b""})]
    ran = evaldock("extract", *images, "--json")
    assert [answer["status"] for answer in ran.json] == ["found", "absent"]
    assert ran.code == 3
    assert "no image 'none'" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["oci:nowhere:1"], 3),
        (["127.0.0.1:9/a/b:1"], 4),
        (["UPPER/case"], 2),
        ([], 2),
        (["oci:nowhere:1", "--path", "/opt/"], 2),
        (["oci:nowhere:1", "--verify", "some"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    ran = evaldock("extract", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err


def test_what_can_not_be_known_is_said_and_fails(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make("1", {"zeros": bytes(4 << 20)})
    small = Limits(ratio=10, ratio_from=1 << 20)
    monkeypatch.setattr(extract, "read_image", partial(read_image, limits=small))
    ran = evaldock("extract", image, "--json")
    assert (ran.code, ran.json["status"], len(ran.json["unread"])) == (5, "unknown", 1)
    assert "decompresses to more than 10 times its size" in ran.err


def test_proof_on_request(make: Make) -> None:
    image = make("1", {X: TEXT})
    assert evaldock("extract", image, "--json").json["route"] == "layers"
    assert evaldock("extract", image, "--json").json["route"] == "cache"
    assert evaldock("extract", image, "--no-cache", "--json").json["route"] == "layers"
    proved = evaldock("extract", image, "--complete", "--verify", "full", "--json").json
    assert (proved["complete"], proved["verification"]) == (True, "digest")


def test_the_cache_is_shown_and_pruned(make: Make) -> None:
    assert evaldock("cache", "ls").out.endswith("nothing is kept there\n")
    evaldock("extract", make("1", {X: TEXT}))
    listed = evaldock("cache", "ls", "--json").json
    assert listed["folder"] == str(cache_dir())
    counts = {kind["what"]: kind["entries"] for kind in listed["kinds"]}
    assert (counts["reads/answers"], counts["reads/layers"], counts["reads/references"]) == (1, 1, 1)
    assert all((kind["bytes"] > 0) == (kind["entries"] > 0) for kind in listed["kinds"])
    assert "reads/answers" in evaldock("cache", "ls").out

    assert evaldock("cache", "prune", "--older-than", "1", "--json").json == {"removed": 0, "bytes": 0}
    [answer] = [path for path in cache_dir("reads", "answers").rglob("*") if path.is_file()]
    size = answer.stat().st_size
    os.utime(answer, (time.time() - 3 * 86400,) * 2)
    ran = evaldock("cache", "prune", "--older-than", "2")
    assert (ran.out, answer.exists()) == (f"removed 1 entry, freed {size} bytes\n", False)

    evaldock("cache", "prune", "--all")
    assert sum(kind["entries"] for kind in evaldock("cache", "ls", "--json").json["kinds"]) == 0


def test_pruning_leaves_alone_what_is_not_the_caches(make: Make, tmp_path: Path) -> None:
    evaldock("extract", make("1", {X: TEXT}))
    mine = cache_dir("precious.txt")
    mine.write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine too")
    cache_dir("site").mkdir()
    cache_dir("site", "link").symlink_to(outside)
    cache_dir("reads", "layers", "linked").symlink_to(outside)
    assert evaldock("cache", "prune", "--all").code == 0
    assert (mine.read_text(), (outside / "file").read_text()) == ("mine", "mine too")


@pytest.mark.parametrize("arguments", [[], ["--all", "--older-than", "3"], ["--older-than", "-1"]])
def test_pruning_wants_to_know_what(arguments: list[str]) -> None:
    assert evaldock("cache", "prune", *arguments).code == 2


def test_help_has_examples() -> None:
    for command in (["extract"], ["cache", "ls"], ["cache", "prune"]):
        assert (
            f"evaldock {' '.join(command)} "
            in evaldock(*command, "--help").out.partition("Examples:")[2] + " "
        )


def test_json_is_one_document_for_one_image(make: Make) -> None:
    image = make("1", {X: TEXT})
    assert isinstance(json.loads(evaldock("extract", image, "--json").out), dict)
    assert isinstance(json.loads(evaldock("extract", image, image, "--json").out), list)
