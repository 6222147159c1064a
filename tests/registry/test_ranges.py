"""Windows of blobs, over everything that servers make of a Range request."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest

from catalog.errors import EvaldockError, Refused, Unreachable
from catalog.references import Digest
from generator.images.source import Descriptor, NoRanges
from generator.registry.source import RegistrySource
from services.fake_registry import Bearer, FakeRegistry

Open = Callable[[str], RegistrySource]

CONTENT = random.Random(1).randbytes(3_000_000)


class Layer:
    """An image with one layer of known content."""

    def __init__(self, fake: FakeRegistry, open_source: Open) -> None:
        fake.add_image("a/b", [fake.add_blob("a/b", CONTENT)], tag="1")
        self.source = open_source(fake.reference("a/b", tag="1"))
        self.blob = self.source.resolve(None).layers[0]
        self.path = f"/{self.blob.digest}"
        self.fake = fake
        fake.reset()
        self.source.cost.requests = self.source.cost.bytes = 0

    def read(self, start: int, length: int) -> bytes:
        return self.source.read_range(self.blob, start, length)


@pytest.fixture
def layer(fake: FakeRegistry, open_source: Open) -> Layer:
    return Layer(fake, open_source)


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 1),
        (0, 3_000_000),
        (1_000_000, 64 * 1024),
        (2_999_999, 1),
        (2_999_990, 100),
        (3_000_000, 10),
        (5_000_000, 10),
        (-5, 10),
        (10, 0),
        (10, -1),
    ],
)
def test_windows(layer: Layer, start: int, length: int) -> None:
    expected = CONTENT[start : start + max(length, 0)] if start >= 0 else b""
    assert layer.read(start, length) == expected
    assert layer.source.cost.requests == (1 if expected else 0)
    assert layer.fake.sent() == len(expected)


def test_redirects_are_remembered_until_they_expire(layer: Layer) -> None:
    layer.fake.redirect_blobs = True
    for start in range(0, 500, 100):
        assert layer.read(start, 100) == CONTENT[start : start + 100]
    assert [layer.fake.count("/v2/"), layer.fake.count("/signed/")] == [1, 5]
    layer.fake.expire_signatures()
    assert layer.read(500, 100) == CONTENT[500:600]
    assert [layer.fake.count("/v2/"), layer.fake.count("/signed/")] == [2, 7]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect(layer: Layer, status: int) -> None:
    layer.fake.redirect_blobs = True
    layer.fake.redirect_status = status
    assert layer.read(7, 9) == CONTENT[7:16]
    assert layer.fake.log[-1].headers["range"] == "bytes=7-15"


def test_an_address_that_is_stale_from_the_start_is_asked_for_again(layer: Layer) -> None:
    layer.fake.redirect_blobs = True
    layer.fake.inject("/signed/", status=403, times=1)
    assert layer.read(0, 10) == CONTENT[:10]
    layer.fake.expire_signatures()
    layer.fake.inject("/signed/", status=403)
    with pytest.raises(Refused) as caught:
        layer.read(0, 10)
    assert str(caught.value) == (
        f"{layer.fake.host}/a/b: blob {layer.blob.digest}: the registry sends to another host, but "
        f"http://{layer.fake.other}/signed/{layer.blob.digest} answered 403"
    )


@pytest.mark.parametrize(
    "location",
    [
        "http://storage.example/blob",
        "ftp://127.0.0.1/blob",
        "file:///etc/passwd",
        "http://127.0.0.1.evil.test/",
        "//169.254.169.254/meta",
        "http://[bad/",
    ],
)
def test_redirects_that_are_not_followed(layer: Layer, location: str) -> None:
    layer.fake.inject("/blobs/", status=307, headers={"Location": location})
    with pytest.raises(Refused):
        layer.read(0, 10)
    assert len(layer.fake.log) == 1


def test_redirects_in_a_circle_end(layer: Layer) -> None:
    layer.fake.inject("/blobs/", status=307, headers={"Location": f"/v2/a/b/blobs{layer.path}"})
    with pytest.raises(Refused, match="more than 5 redirects"):
        layer.read(0, 10)
    assert len(layer.fake.log) == 6


def test_a_redirect_without_location_is_an_error(layer: Layer) -> None:
    layer.fake.inject("/blobs/", status=307)
    with pytest.raises(Refused, match="answered 307"):
        layer.read(0, 10)


def test_a_large_redirect_body_is_not_read(layer: Layer) -> None:
    location = {"Location": f"http://{layer.fake.other}/signed{layer.path}?signature=x"}
    layer.fake.inject("/blobs/", status=307, headers=location, body=b"x" * 10_000_000, times=1)
    layer.fake.signatures.add("x")
    assert layer.read(0, 10) == CONTENT[:10]
    assert layer.source.cost.bytes < 100_000


def test_whole_answers_are_read_in_order_at_the_price_of_one(layer: Layer) -> None:
    layer.fake.inject(ignore_range=True)
    read, at = b"", 0
    for length in (65_536, 1_000_000, 1_000_000, 2_000_000):
        read += layer.read(at, length)
        at += length
    assert read == CONTENT
    assert layer.source.cost.requests == 1
    assert layer.source.cost.bytes == len(CONTENT)


def test_a_whole_answer_is_read_no_further_than_asked(layer: Layer) -> None:
    layer.fake.inject(ignore_range=True)
    assert layer.read(0, 1000) == CONTENT[:1000]
    assert layer.source.cost.bytes == 1000
    layer.source.close()


def test_near_windows_of_a_whole_answer(layer: Layer) -> None:
    layer.fake.inject(ignore_range=True)
    assert layer.read(500_000, 10) == CONTENT[500_000:500_010]
    assert layer.read(1_000_000, 10) == CONTENT[1_000_000:1_000_010]
    assert layer.read(0, 10) == CONTENT[:10]  # back: a new request
    assert layer.source.cost.requests == 2


def test_far_windows_of_a_whole_answer_are_refused_before_they_cost(layer: Layer) -> None:
    layer.fake.inject(ignore_range=True)
    with pytest.raises(NoRanges, match="ignores ranges: to get at byte 2999949"):
        layer.read(2_999_949, 51)
    assert layer.source.cost.bytes == 0


def test_a_whole_answer_that_breaks_off_is_taken_up_again(layer: Layer) -> None:
    layer.fake.inject(ignore_range=True, truncate=2_000_000, times=1)
    layer.fake.inject(ignore_range=True)
    read = b"".join(layer.read(at, 750_000) for at in range(0, 3_000_000, 750_000))
    assert read == CONTENT
    assert layer.source.cost.requests == 2


@pytest.mark.parametrize(
    ("content_range", "message"),
    [
        ("bytes 0-99/3000000", "bytes 0-99 instead of bytes 100-199"),
        ("bytes 100-299/3000000", "bytes 100-299 instead of bytes 100-199"),
        ("bytes 100-99/3000000", "bytes 100-99 instead of bytes 100-199"),
        ("bytes 100-199/5", "a part of 5 bytes; its manifest says 3000000"),
        ("bytes */3000000", "a part without a Content-Range ('bytes */3000000')"),
        ("items 100-199/3000000", "a part without a Content-Range ('items 100-199/3000000')"),
    ],
)
def test_wrong_content_ranges(layer: Layer, content_range: str, message: str) -> None:
    layer.fake.inject(content_range=content_range)
    with pytest.raises(Refused) as caught:
        layer.read(100, 100)
    assert str(caught.value) == (
        f"{layer.fake.host}/a/b: of blob {layer.blob.digest} the registry sends {message}"
    )


def test_a_total_may_be_unknown(layer: Layer) -> None:
    layer.fake.inject(content_range="bytes 100-199/*")
    assert layer.read(100, 100) == CONTENT[100:200]


def test_less_than_asked_for_is_completed(layer: Layer) -> None:
    layer.fake.most_in_a_range = 300
    assert layer.read(100, 1000) == CONTENT[100:1100]
    assert layer.source.cost.requests == 4


@pytest.mark.parametrize("claimed", [10, 2_999_999, 3_000_001])
@pytest.mark.parametrize("ignore_range", [True, False])
def test_sizes_that_the_manifest_lies_about(layer: Layer, claimed: int, ignore_range: bool) -> None:
    layer.fake.inject(ignore_range=ignore_range)
    lying = dataclasses.replace(layer.blob, size=claimed)
    with pytest.raises(Refused, match=f"its manifest says {claimed}"):
        layer.source.read_range(lying, 0, 10)
    with pytest.raises(Refused):
        layer.source.blob(lying)


@pytest.mark.parametrize(
    "fault", [{"corrupt": True}, {"status": 200, "body": b"short"}, {"status": 200, "body": b""}]
)
def test_a_whole_blob_is_verified(layer: Layer, fault: dict[str, Any]) -> None:
    assert layer.source.blob(layer.blob) == CONTENT
    layer.fake.inject("/blobs/", **fault)
    with pytest.raises(Refused) as caught:
        layer.source.blob(layer.blob)
    assert str(caught.value) == (
        f"{layer.source.ref}: the content of blob {layer.blob.digest} doesn't match its digest"
    )


def test_a_blob_too_large_to_be_read_whole(layer: Layer) -> None:
    with pytest.raises(Refused, match="at most 33554432 are read whole"):
        layer.source.blob(dataclasses.replace(layer.blob, size=33_554_433))
    assert not layer.fake.log


def test_small_blobs_are_fetched_once(layer: Layer) -> None:
    config = layer.source.resolve(None).config
    assert layer.source.blob(config) == layer.source.blob(config)
    assert not layer.fake.log  # not even once: resolving had needed it


def test_a_blob_that_is_gone(layer: Layer) -> None:
    gone = Descriptor(media_type="", digest=Digest.of(b"gone"), size=4)
    for read in (layer.source.blob, lambda blob: layer.source.read_range(blob, 0, 4)):
        with pytest.raises(EvaldockError) as caught:
            read(gone)
        assert str(caught.value) == (
            f"{layer.fake.host}/a/b: blob {gone.digest} doesn't exist (BLOB_UNKNOWN blob unknown)\n"
            "  check the name; a private image also looks like this without credentials"
        )


def test_a_range_past_the_end_of_what_is_there(layer: Layer) -> None:
    longer = dataclasses.replace(layer.blob, size=4_000_000)
    with pytest.raises(Refused, match="answered 416"):
        layer.source.read_range(longer, 3_500_000, 10)


def test_storage_that_fails_is_no_matter_of_credentials(layer: Layer) -> None:
    layer.fake.redirect_blobs = True
    layer.fake.auth = Bearer(anonymous=True)
    layer.fake.inject("/signed/", status=503)
    with pytest.raises(Unreachable, match="the registry sends to another host, but"):
        layer.read(0, 10)


def test_a_remembered_address_that_dies_is_replaced(layer: Layer) -> None:
    layer.fake.redirect_blobs = True
    layer.read(0, 10)
    layer.fake.inject("/signed/", drop=True, times=4)  # as often as one request is tried
    assert layer.read(0, 10) == CONTENT[:10]
