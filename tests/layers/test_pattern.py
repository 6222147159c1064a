from __future__ import annotations

import pytest

from catalog.errors import UsageError
from generator.layers.pattern import Pattern

DEFAULT = Pattern.parse("/opt/metadata/**/framework.yml")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/opt/metadata/**/framework.yml", "opt/metadata/framework.yml", True),
        ("/opt/metadata/**/framework.yml", "opt/metadata/a/b/framework.yml", True),
        ("/opt/metadata/**/framework.yml", "opt/metadata/a/framework.yml.bak", False),
        ("/opt/metadata/**/framework.yml", "opt/metadata-old/framework.yml", False),
        ("/opt/metadata/**/framework.yml", "opt/metadata/.hidden/framework.yml", True),
        ("/opt/*/framework.yml", "opt/a/framework.yml", True),
        ("/opt/*/framework.yml", "opt/a/b/framework.yml", False),
        ("opt/fram?work.yml", "opt/framework.yml", True),
        ("/opt/[a-c]*.yml", "opt/bx.yml", True),
        ("/opt/[!a-c]*.yml", "opt/bx.yml", False),
        ("/opt/[!a]x", "opt//x", False),
        ("/opt/**", "opt/a/b", True),
        ("/opt/**/**/x", "opt/x", True),
        ("/**/x", "x", True),
        ("/./opt//x", "opt/x", True),
        ("/opt/a.b", "opt/aXb", False),
        ("/opt/[]]", "opt/]", True),
        ("/opt/[x", "opt/[x", True),
        ("/opt/[*]", "opt/*", True),
        ("/opt/[*]", "opt/a", False),
        ("/opt/a\nb/*", "opt/a\nb/c\nd", True),
        ("/opt/漢*", "opt/漢字", True),
    ],
)
def test_matching(pattern: str, path: str, matches: bool) -> None:
    assert Pattern.parse(pattern).matches(path) is matches


@pytest.mark.parametrize(
    ("pattern", "path", "on_way"),
    [
        ("/opt/metadata/**/framework.yml", "", True),
        ("/opt/metadata/**/framework.yml", "opt", True),
        ("/opt/metadata/**/framework.yml", "opt/metadata/a/b/c", True),
        ("/opt/metadata/**/framework.yml", "optional", False),
        ("/opt/metadata/**/framework.yml", "usr", False),
        ("/opt/*/x/f", "opt/any", True),
        ("/opt/*/x/f", "opt/any/x", True),
        ("/opt/*/x/f", "opt/any/y", False),
        ("/opt/*/x/f", "opt/any/x/f", False),
        ("/f", "f", False),
        ("/**/f", "a/b", True),
    ],
)
def test_what_something_matching_may_lie_below(pattern: str, path: str, on_way: bool) -> None:
    assert Pattern.parse(pattern).on_way(path) is on_way


def test_literal_start() -> None:
    assert DEFAULT.literal == ("opt", "metadata")
    assert not DEFAULT.exact
    exact = Pattern.parse("/opt/[*]/f")
    assert (exact.literal, exact.exact) == (("opt", "*", "f"), True)


def test_names_stay_names() -> None:
    pattern = Pattern.of_names(("a*b", "[x]", "c?"), ("**", "f"))
    assert pattern == Pattern.parse(pattern.text)
    assert pattern.literal == ("a*b", "[x]", "c?")
    assert pattern.matches("a*b/[x]/c?/d/f")
    assert not pattern.matches("aab/x/cd/d/f")


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ("/opt/**/f", "/opt/**/f", True),
        ("/opt/**/f", "/opt/a/**/f", True),
        ("/opt/a/**/f", "/opt/**/f", False),
        ("/opt/**/f", "/opt/a/**/g", False),
        ("/opt/**/f", "/opt/a/b/f", True),
        ("/opt/**/f", "/usr/f", False),
        ("/opt/*/f", "/opt/a/f", True),
        ("/opt/*/f", "/opt/a/*/f", False),
        ("/**/f", "/any/**/f", True),
        ("/opt/a/f", "/opt/a/f", True),
    ],
)
def test_covering(one: str, other: str, covers: bool) -> None:
    assert Pattern.parse(one).covers(Pattern.parse(other)) is covers


@pytest.mark.parametrize("text", ["", "/", "//./", "/opt/", "/opt/../etc/passwd", "/opt/\0", "/opt/[z-a]"])
def test_impossible_patterns(text: str) -> None:
    with pytest.raises(UsageError):
        Pattern.parse(text)
