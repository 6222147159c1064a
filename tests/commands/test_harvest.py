from __future__ import annotations

import re
from typing import Any

import pytest

from catalog.errors import NotFound
from catalog.models import MappingEntry
from catalog.references import Digest
from generator.answer import FoundFile, ReadAnswer, Status
from generator.harvest import harvest
from generator.images.source import Cost
from harness_images import framework, path_of

ENTRY = MappingEntry(key="maths", container="registry.example/maths:1")
LAYER = Digest.of(b"layer")


def answer(status: Status, *files: bytes, **given: Any) -> ReadAnswer:
    values: dict[str, Any] = {
        "image": ENTRY.container,
        "digest": Digest.of(b"index"),
        "manifest_digest": Digest.of(b"manifest"),
        "platform": "linux/amd64",
        "platforms": ("linux/amd64", "linux/arm64"),
        "complete": True,
        "unread": (),
        "route": "layers",
        "verification": "digest",
        "cost": Cost(),
        "files": tuple(
            FoundFile(path=f"/{path_of('maths')}", layer=LAYER, sha256=Digest.of(file).hex, content=file)
            for file in files
        ),
    }
    return ReadAnswer(status=status, **{**values, **given})


def test_files_become_harnesses_with_where_they_came_from() -> None:
    file = framework("maths", "algebra")
    found = harvest(ENTRY, answer(Status.FOUND, file, complete=False, unread=(LAYER,)))
    (harness,) = found.harnesses
    assert harness.entry == "maths"
    assert [task.id for task in harness.tasks] == ["maths.algebra"]
    assert harness.sources[0].layer == str(LAYER)
    assert found.image.digest == str(Digest.of(b"index"))
    assert found.image.complete is False
    assert found.warnings == ()


def test_what_could_not_be_read_of_a_found_image_is_a_warning() -> None:
    given = answer(
        Status.FOUND, framework("maths", "x"), complete=False, unread=(LAYER,), notes=("too large",)
    )
    assert harvest(ENTRY, given).warnings == ("a layer was left unread: too large",)


def test_absent_and_unknown_are_different_answers() -> None:
    absent = "registry.example/maths:1: the image holds no framework.yml; all of its layers were read"
    with pytest.raises(NotFound, match=f"^{re.escape(absent)}\n"):
        harvest(ENTRY, answer(Status.ABSENT))
    unknown = (
        "registry.example/maths:1: no framework.yml in the layers that were read; layers left unread: 1"
        " (layer 7 is too large)\n  `--complete` reads all layers that can be read"
    )
    with pytest.raises(NotFound, match=f"^{re.escape(unknown)}$"):
        harvest(
            ENTRY, answer(Status.UNKNOWN, complete=False, unread=(LAYER,), notes=("layer 7 is too large",))
        )
