"""From the framework files of an image to harnesses."""

from __future__ import annotations

import pytest

from catalog.errors import InvalidInput
from catalog.framework import Framework, parse
from catalog.joining import join
from catalog.models import FrameworkSource, MappingEntry
from samples import image

ENTRY = MappingEntry(
    key="both", container="registry.example/both:1", packages=("p==1",), abilities=("resume",)
)


def definition(name: str, task: str = "t") -> Framework:
    text = f"""\
framework: {{name: {name}, pkg_name: {name}_pkg, url: "https://x.example", source: kept}}
defaults: {{command: run, config: {{}}, target: {{}}}}
evaluations: [{{defaults: {{config: {{type: {task}}}}}}}]
"""
    return parse(text.encode(), name)


def source(path: str, sha256: str = "a") -> FrameworkSource:
    return FrameworkSource(path=path, layer="sha256:" + "1" * 64, sha256=sha256 * 64)


def test_one_image_may_hold_several_harnesses() -> None:
    found = [
        (definition("zeta"), source("/opt/metadata/1/framework.yml", "a")),
        (definition("alpha"), source("/opt/metadata/2/framework.yml", "b")),
    ]
    harnesses = join(ENTRY, image(), found)
    assert [each.name for each in harnesses] == ["alpha", "zeta"]
    alpha = harnesses[0]
    assert (alpha.entry, alpha.packages, alpha.abilities) == ("both", ("p==1",), ("resume",))
    assert alpha.sources == (found[1][1],)
    assert alpha.other == {"source": "kept"}
    assert alpha.tasks[0].id == "alpha.t"
    assert alpha.command == "run"


def test_a_file_at_two_paths_is_one_harness_with_two_sources() -> None:
    one, other = source("/opt/metadata/b/framework.yml"), source("/opt/metadata/a/framework.yml")
    (harness,) = join(ENTRY, image(), [(definition("h"), one), (definition("h"), other)])
    assert harness.sources == (other, one)


def test_files_that_differ_must_not_declare_one_harness() -> None:
    found = [
        (definition("h"), source("/opt/metadata/a/framework.yml", "a")),
        (definition("h", "u"), source("/opt/metadata/b/framework.yml", "b")),
    ]
    with pytest.raises(InvalidInput) as caught:
        join(ENTRY, image(), found)
    assert str(caught.value) == (
        "registry.example/both:1: an image must not declare a harness twice\n"
        "  - harness 'h' stands in /opt/metadata/a/framework.yml and in /opt/metadata/b/framework.yml"
    )


def test_no_file_no_harness() -> None:
    assert join(ENTRY, image(), []) == ()
