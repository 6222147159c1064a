"""What goes wrong on the way: wrong bytes, broken connections, bombs, interruptions."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from catalog.errors import EvaldockError, Refused
from generator.answer import ReadAnswer, Status
from generator.layers.limits import Limits
from image_parts import member, tar
from reading.pictured import (
    CONTENT,
    COPIES,
    FRAMEWORK,
    OTHER,
    PATH,
    REPOSITORY,
    blobs_asked_for,
    image,
    large,
    tiny,
    unread,
)
from services.fake_registry import FakeRegistry, digest_of, tar_of

Read = Callable[..., ReadAnswer]


def test_a_large_layer_with_other_bytes_than_its_digest_says(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 9 << 20, {FRAMEWORK: CONTENT})
    reference = image(fake, [layer], [COPIES])
    data = fake.blobs[layer["digest"]]
    assert isinstance(data, bytes)
    # A tar that is as good as the other one, only not the one that the manifest names.
    fake.blobs[layer["digest"]] = data.replace(b"name: x", b"name: y")[: len(data)]
    with pytest.raises(Refused, match=f"the content of layer {layer['digest']} doesn't match its digest"):
        read(reference)
    fake.blobs[layer["digest"]] = data
    assert read(reference).files[0].content == CONTENT


def test_bytes_that_make_no_sense_are_called_what_they_are(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 9 << 20, {FRAMEWORK: CONTENT})
    reference = image(fake, [layer], [COPIES])
    data = fake.blobs[layer["digest"]]
    assert isinstance(data, bytes)
    fake.blobs[layer["digest"]] = data[:5_000_000] + bytes(len(data) - 5_000_000)
    with pytest.raises(Refused, match="doesn't match its digest"):
        read(reference)


def test_a_damaged_layer_with_the_right_digest(fake: FakeRegistry, read: Read) -> None:
    data = gzip.compress(tar_of({FRAMEWORK: CONTENT}))[:-30]
    layer = {**unread(len(data)), "digest": digest_of(data)}
    reference = image(fake, [layer])
    fake.blobs[layer["digest"]] = data
    with pytest.raises(Refused, match=f"^layer {layer['digest']}: the layer can't be decompressed"):
        read(reference)


def test_a_small_layer_with_other_bytes_is_refused(fake: FakeRegistry, read: Read) -> None:
    layer = tiny(fake, {FRAMEWORK: CONTENT})
    fake.inject(f"/blobs/{layer['digest']}", corrupt=True)
    with pytest.raises(EvaldockError, match="match its digest"):
        read(image(fake, [layer]))


def test_a_registry_that_ignores_ranges(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 20 << 20, {FRAMEWORK: CONTENT})
    reference = image(fake, [layer], [COPIES])
    fake.inject(f"/blobs/{layer['digest']}", ignore_range=True)
    for pattern in (PATH, "/opt/metadata/**/framework.yml"):
        answer = read(reference, pattern=pattern)
        assert {file.path: file.content for file in answer.files} == {PATH: CONTENT}


def test_connections_that_break_are_tried_again(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 20 << 20, {FRAMEWORK: CONTENT})
    reference = image(fake, [layer], [COPIES])
    fake.inject(f"/blobs/{layer['digest']}", truncate=1_000_000, times=2)
    fake.inject(f"/blobs/{layer['digest']}", status=503, headers={"Retry-After": "0"}, times=1)
    answer = read(reference)
    assert (answer.files[0].content, answer.verification) == (CONTENT, "digest")


def test_a_failing_layer_does_not_matter_below_what_settles_it(fake: FakeRegistry, read: Read) -> None:
    missing = unread(9000)
    hiding = tiny(fake, {FRAMEWORK: CONTENT, "opt/metadata/.wh..wh..opq": b""})
    answer = read(image(fake, [missing, hiding]))
    assert (answer.complete, answer.files[0].content) == (True, CONTENT)
    with pytest.raises(EvaldockError, match="blob"):
        read(image(fake, [missing, tiny(fake, {FRAMEWORK: CONTENT})], tag="2"))


def test_a_bomb_makes_the_answer_unknown_if_it_could_hold_the_file(fake: FakeRegistry, read: Read) -> None:
    limits = Limits(ratio=100, ratio_from=1 << 20)
    bomb = fake.add_blob(REPOSITORY, gzip.compress(tar_of({"zeros": bytes(8 << 20)})))
    reference = image(fake, [bomb, tiny(fake, {"etc/x": b""})])
    answer = read(reference, limits=limits)
    assert (answer.status, answer.complete, answer.files) == (Status.UNKNOWN, False, ())
    assert [str(layer) for layer in answer.unread] == [bomb["digest"]]
    assert answer.notes == (
        f"layer {bomb['digest']}: the layer decompresses to more than 100 times its size",
    )
    # Not kept: with other limits the answer is another one.
    assert read(reference).status is Status.ABSENT


def test_a_bomb_below_a_file_leaves_it_found(fake: FakeRegistry, read: Read) -> None:
    limits = Limits(ratio=100, ratio_from=1 << 20)
    bomb = fake.add_blob(REPOSITORY, gzip.compress(tar_of({"zeros": bytes(8 << 20)})))
    answer = read(image(fake, [bomb, tiny(fake, {FRAMEWORK: CONTENT})]), limits=limits, complete=True)
    assert (answer.status, answer.complete) == (Status.FOUND, False)
    assert len(answer.notes) == len(answer.unread) == 1


def test_a_bomb_above_a_file_makes_it_unknown(fake: FakeRegistry, read: Read) -> None:
    limits = Limits(ratio=100, ratio_from=1 << 20)
    bomb = fake.add_blob(REPOSITORY, gzip.compress(tar_of({"zeros": bytes(8 << 20)})))
    answer = read(image(fake, [tiny(fake, {FRAMEWORK: CONTENT}), bomb]), limits=limits)
    assert (answer.status, answer.files) == (Status.UNKNOWN, ())


def test_a_layer_beyond_all_limits_is_not_even_asked_for(fake: FakeRegistry, read: Read) -> None:
    layer = unread(1 << 40)
    answer = read(image(fake, [layer], [OTHER]))
    assert answer.status is Status.UNKNOWN
    assert blobs_asked_for(fake, layer) == 0


def test_a_file_that_is_too_large_is_refused_by_name(fake: FakeRegistry, read: Read) -> None:
    layer = tiny(fake, {FRAMEWORK: bytes(2 << 20)})
    with pytest.raises(
        Refused, match=f"^layer {layer['digest']}: {PATH} has 2097152 bytes, more than the 1048576"
    ):
        read(image(fake, [layer]))
    # Unless an upper layer replaced it.
    answer = read(image(fake, [layer, tiny(fake, {FRAMEWORK: CONTENT})], tag="2"))
    assert answer.files[0].content == CONTENT


class Interrupted(BaseException):
    pass


def test_an_interrupted_read_leaves_nothing_that_is_wrong(fake: FakeRegistry, read: Read) -> None:
    first = large(fake, 9 << 20, {FRAMEWORK: CONTENT})
    second = large(fake, 9 << 20, {"opt/metadata/y/framework.yml": b"y"}, seed=100)
    reference = image(fake, [first, second], [COPIES, COPIES])
    for after in (1, 2, 4):

        def interrupt(received: int, expected: int, after: int = after) -> None:
            if received > after << 20:
                raise Interrupted

        with pytest.raises(Interrupted):
            read(reference, progress=interrupt)
    answer = read(reference)
    assert sorted(file.content for file in answer.files) == [CONTENT, b"y"]
    assert answer.complete


def test_progress_counts_what_comes_in(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 9 << 20, {FRAMEWORK: CONTENT})
    told: list[tuple[int, int]] = []
    read(image(fake, [layer], [COPIES]), progress=lambda *amounts: told.append(amounts))
    assert told[-1] == (layer["size"], layer["size"])
    assert [received for received, _ in told] == sorted(received for received, _ in told)


def test_hostile_names_stay_names(fake: FakeRegistry, read: Read) -> None:
    layer = fake.add_blob(
        REPOSITORY,
        gzip.compress(
            tar(
                member("../../../../opt/metadata/a/framework.yml", b"climbing"),
                member("/opt/metadata/\x1b[31m/framework.yml", b"escape"),
                member("opt/metadata/[x]*/framework.yml", b"pattern"),
            )
        ),
    )
    answer = read(image(fake, [layer]))
    assert {file.path: file.content for file in answer.files} == {
        "/opt/metadata/a/framework.yml": b"climbing",
        "/opt/metadata/\x1b[31m/framework.yml": b"escape",
        "/opt/metadata/[x]*/framework.yml": b"pattern",
    }
