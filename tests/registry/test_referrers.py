"""What refers to an image: the API, its pages and filters, and the fallback tag."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catalog.errors import Unreachable
from catalog.references import Digest
from generator.registry.referrers import fallback_tag
from generator.registry.source import RegistrySource
from services.fake_registry import FakeRegistry

Open = Callable[[str], RegistrySource]
KIND = "application/x.mine"


class Image:
    def __init__(self, fake: FakeRegistry, open_source: Open) -> None:
        self.fake = fake
        self.made = fake.add_image("a/b", [], tag="1")
        self.digest = Digest.parse(self.made["digest"])
        self.source = open_source(fake.reference("a/b", tag="1"))

    def attach(self, kind: str = KIND, **annotations: str) -> str:
        digest = self.fake.add_artifact("a/b", self.made, kind, annotations=annotations)["digest"]
        assert isinstance(digest, str)
        return digest

    def found(self) -> list[str]:
        return [str(one.digest) for one in self.source.referrers(self.digest, KIND)]


@pytest.fixture
def image(fake: FakeRegistry, open_source: Open) -> Image:
    return Image(fake, open_source)


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("api", [True, False])
def test_those_of_a_type(image: Image, api: bool, filters: bool) -> None:
    image.fake.referrers, image.fake.referrers_filter = api, filters
    mine = image.attach(key="value")
    image.attach("application/x.other")
    (found,) = image.source.referrers(image.digest, KIND)
    assert (str(found.digest), found.annotations) == (mine, {"key": "value"})
    assert len(image.fake.log) == (1 if api else 2)


@pytest.mark.parametrize("api", [True, False])
def test_none(image: Image, api: bool) -> None:
    image.fake.referrers = api
    assert image.found() == []


def test_that_there_is_no_api_is_remembered(image: Image, open_source: Open) -> None:
    image.fake.referrers = False
    image.found()
    image.fake.reset()
    assert image.found() == []
    open_source(image.fake.reference("other/repository", tag="x")).referrers(image.digest, KIND)
    assert [image.fake.count("/referrers/"), image.fake.count("/manifests/")] == [0, 2]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_registries_that_say_no_differently(image: Image, status: int) -> None:
    image.fake.referrers = False
    mine = image.attach()
    image.fake.inject("/referrers/", status=status)
    assert image.found() == [mine]


@pytest.mark.parametrize("body", [b"<!doctype html>", b"{}", b"[]", b""])
def test_a_web_page_is_no_list(image: Image, body: bytes) -> None:
    image.fake.referrers = False
    mine = image.attach()
    image.fake.inject("/referrers/", status=200, body=body)
    assert image.found() == [mine]


def test_pages(image: Image) -> None:
    image.fake.referrers_page = 2
    attached = [image.attach(number=str(number)) for number in range(5)]
    assert image.found() == attached
    assert len(image.fake.log) == 3


def test_pages_without_end_are_not_read_for_ever(image: Image) -> None:
    image.attach()
    index = b'{"schemaVersion": 2, "manifests": []}'
    again = {"Link": f'</v2/a/b/referrers/{image.digest}?again>; rel="next"'}
    image.fake.inject("/referrers/", status=200, body=index, headers=again)
    assert image.found() == []
    assert len(image.fake.log) == 10


def test_pages_elsewhere_are_not_asked_for(image: Image) -> None:
    index = b'{"schemaVersion": 2, "manifests": []}'
    away = {"Link": f'<http://{image.fake.other}/list>; rel="next"'}
    image.fake.inject("/referrers/", status=200, body=index, headers=away)
    assert image.found() == []
    assert len(image.fake.log) == 1


def test_a_fallback_tag_that_holds_an_image(image: Image) -> None:
    image.fake.referrers = False
    image.fake.add_image("a/b", [], tag=fallback_tag(image.digest))
    assert image.found() == []


@pytest.mark.parametrize("status", [429, 503])
def test_trouble_is_told(image: Image, status: int) -> None:
    image.fake.inject("/referrers/", status=status)
    with pytest.raises(Unreachable, match="list of referrers"):
        image.found()


def test_names_of_fallback_tags() -> None:
    assert fallback_tag(Digest.of(b"")) == f"sha256-{Digest.of(b'').hex}"
    assert fallback_tag(Digest.parse("sha512:" + "a" * 128)) == "sha512-" + "a" * 64
