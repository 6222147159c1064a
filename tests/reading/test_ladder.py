"""Each rung of the ladder: what is found, what is left unread, and what it cost."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable

import pytest

from catalog.errors import NotFound, UsageError
from catalog.references import Digest
from generator.answer import ReadAnswer, Status
from image_parts import member, tar
from reading.pictured import (
    CONTENT,
    COPIES,
    FRAMEWORK,
    NOTHING,
    OTHER,
    PATH,
    REPOSITORY,
    RUNS,
    blobs_asked_for,
    image,
    large,
    tiny,
    unread,
)
from services.fake_registry import Bearer, FakeRegistry

Read = Callable[..., ReadAnswer]
GIGABYTE = 1 << 30


def found(answer: ReadAnswer) -> dict[str, bytes]:
    return {file.path: file.content for file in answer.files}


def test_a_late_tiny_layer_of_a_large_image(fake: FakeRegistry, read: Read) -> None:
    fake.auth = Bearer(anonymous=True)
    base, middle = unread(GIGABYTE // 2), unread(GIGABYTE // 2, 1)
    layer = tiny(fake, {FRAMEWORK: CONTENT})
    reference = image(fake, [base, middle, layer], [OTHER, NOTHING, OTHER, NOTHING, COPIES])
    answer = read(reference)
    assert (answer.status, answer.complete, answer.route) == (Status.FOUND, False, "layers")
    assert found(answer) == {PATH: CONTENT}
    assert answer.files[0].layer == Digest.parse(layer["digest"])
    assert [str(digest) for digest in answer.unread] == [base["digest"], middle["digest"]]
    assert answer.verification == "digest"
    # Challenge, token, index, manifest, config, layer; no redirect.
    assert answer.cost.requests == len(fake.log) <= 6
    assert answer.cost.bytes == fake.sent() <= 70_000


def test_warm_it_costs_one_head_and_pinned_nothing(fake: FakeRegistry, read: Read) -> None:
    reference = image(fake, [unread(GIGABYTE), tiny(fake, {FRAMEWORK: CONTENT})], [OTHER, COPIES])
    first = read(reference)
    fake.reset()
    second = read(reference)
    assert [(one.method, one.path) for one in fake.log] == [("HEAD", f"/v2/{REPOSITORY}/manifests/1.0")]
    assert (second.route, second.cost.requests, found(second)) == ("cache", 1, found(first))
    assert (second.image, second.digest, second.unread) == (first.image, first.digest, first.unread)
    fake.reset()
    for digest in (first.digest, first.manifest_digest):
        pinned = read(fake.reference(REPOSITORY, digest=str(digest)))
        assert (pinned.digest, pinned.cost.requests, found(pinned)) == (digest, 0, found(first))
    assert read(reference, known=first.digest).cost.requests == 0
    assert not fake.log


def test_a_moved_tag_is_read_anew(fake: FakeRegistry, read: Read) -> None:
    reference = image(fake, [tiny(fake, {FRAMEWORK: CONTENT})])
    read(reference)
    image(fake, [tiny(fake, {FRAMEWORK: b"new"})])
    assert found(read(reference)) == {PATH: b"new"}


def test_what_the_caller_has_learnt_is_read_whatever_the_tag_says_now(fake: FakeRegistry, read: Read) -> None:
    reference = image(fake, [tiny(fake, {FRAMEWORK: CONTENT})])
    known = Digest.parse(fake.tags[REPOSITORY, "1.0"])
    image(fake, [tiny(fake, {FRAMEWORK: b"new"})])
    answer = read(reference, known=known)
    assert (answer.digest, found(answer), answer.image) == (known, {PATH: CONTENT}, reference)


def test_an_exact_path_needs_neither_config_nor_other_layers(fake: FakeRegistry, read: Read) -> None:
    reference = image(fake, [unread(GIGABYTE), tiny(fake, {FRAMEWORK: CONTENT})], index=False)
    fake.reset()
    answer = read(reference, pattern=PATH)
    assert (answer.complete, answer.unread, found(answer)) == (True, (), {PATH: CONTENT})
    assert blobs_asked_for(fake, unread(GIGABYTE)) == 0


def test_small_layers_are_all_read_without_a_hint(fake: FakeRegistry, read: Read) -> None:
    layers = [
        large(fake, 2 << 20, {"opt/metadata/y/framework.yml": b"y"}),
        tiny(fake, {FRAMEWORK: CONTENT}),
        large(fake, 5 << 20, {"opt/metadata/z/framework.yml": b"z"}, seed=9),
    ]
    answer = read(image(fake, layers))
    assert sorted(found(answer).values()) == [CONTENT, b"y", b"z"]
    assert (answer.complete, answer.route, answer.verification) == (True, "layers", "digest")
    # Nothing large is left, so that nobody has to ask what the history says.
    config = json.loads(fake.manifests[REPOSITORY, str(answer.manifest_digest)][1])["config"]
    assert blobs_asked_for(fake, config) == 0


@pytest.mark.parametrize("hint", [COPIES, RUNS, {"created_by": "RUN cp a/framework.yml b"}])
def test_a_large_layer_that_the_history_hints_at(
    fake: FakeRegistry, read: Read, hint: dict[str, str]
) -> None:
    base, layer = unread(GIGABYTE), large(fake, 10 << 20, {FRAMEWORK: CONTENT})
    answer = read(image(fake, [base, layer], [OTHER, NOTHING, hint]))
    assert (found(answer), answer.route, answer.complete) == ({PATH: CONTENT}, "layers", False)
    assert [str(digest) for digest in answer.unread] == [base["digest"]]
    assert answer.verification == "digest"


def test_a_history_that_does_not_fit_the_layers_hints_at_nothing(fake: FakeRegistry, read: Read) -> None:
    layers = [
        large(fake, 9 << 20, {"opt/metadata/y/framework.yml": b"y"}, seed=50),
        tiny(fake, {FRAMEWORK: CONTENT}),
    ]
    answer = read(image(fake, layers, [COPIES, COPIES, COPIES]))
    assert found(answer) == {PATH: CONTENT}
    assert len(answer.unread) == 1


def test_a_file_in_a_large_layer_that_nothing_hints_at_is_found(fake: FakeRegistry, read: Read) -> None:
    base = unread(GIGABYTE)
    holder = large(fake, 10 << 20, {FRAMEWORK: CONTENT})
    above = large(fake, 9 << 20, seed=100)
    answer = read(image(fake, [base, holder, above], [OTHER, OTHER, OTHER]))
    assert (found(answer), answer.route) == ({PATH: CONTENT}, "scan")
    assert [str(digest) for digest in answer.unread] == [base["digest"]]


def test_a_large_layer_above_a_hit_is_read_for_what_it_may_hide(fake: FakeRegistry, read: Read) -> None:
    base = unread(GIGABYTE)
    above = large(fake, 9 << 20, {"opt/metadata/x/.wh.framework.yml": b""}, seed=100)
    middle = tiny(fake, {FRAMEWORK: CONTENT, "opt/metadata/y/framework.yml": b"y"})
    answer = read(image(fake, [base, middle, above], [OTHER, COPIES, OTHER]))
    assert found(answer) == {"/opt/metadata/y/framework.yml": b"y"}
    assert [str(digest) for digest in answer.unread] == [base["digest"]]


def test_absent_is_proved_by_reading_everything(fake: FakeRegistry, read: Read) -> None:
    layers = [large(fake, 9 << 20), tiny(fake, {"etc/x": b"x"})]
    answer = read(image(fake, layers, [OTHER, OTHER]))
    assert (answer.status, answer.complete, answer.unread) == (Status.ABSENT, True, ())
    assert (answer.files, answer.verification) == ((), "digest")


def test_layers_below_an_opaque_directory_do_not_matter(fake: FakeRegistry, read: Read) -> None:
    layer = tiny(fake, {FRAMEWORK: CONTENT, "opt/metadata/.wh..wh..opq": b""})
    answer = read(image(fake, [unread(GIGABYTE), layer], [OTHER, COPIES]), complete=True)
    assert (found(answer), answer.complete, answer.unread) == ({PATH: CONTENT}, True, ())


def test_complete_reads_what_a_default_read_left(fake: FakeRegistry, read: Read) -> None:
    base = large(fake, 9 << 20, {"opt/metadata/y/framework.yml": b"y"})
    reference = image(fake, [base, tiny(fake, {FRAMEWORK: CONTENT})], [OTHER, COPIES])
    assert found(read(reference)) == {PATH: CONTENT}
    answer = read(reference, complete=True)
    assert found(answer) == {PATH: CONTENT, "/opt/metadata/y/framework.yml": b"y"}
    assert (answer.complete, answer.unread, answer.route) == (True, (), "scan")
    # From then on a default read knows it all too.
    assert read(reference).complete


def test_an_early_exit_reads_little_of_a_large_layer_and_says_so(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 12 << 20, {FRAMEWORK: CONTENT}, last=False)
    reference = image(fake, [unread(GIGABYTE), layer], [OTHER, COPIES])
    fake.reset()
    answer = read(reference, pattern=PATH, cache=False)
    assert (found(answer), answer.verification, answer.complete) == ({PATH: CONTENT}, "partial", False)
    assert [str(digest) for digest in answer.unread] == [layer["digest"]]
    assert fake.sent(f"/blobs/{layer['digest']}") <= 64 << 10
    fake.reset()
    full = read(reference, pattern=PATH, verify_full=True)
    assert (found(full), full.verification, full.complete) == ({PATH: CONTENT}, "digest", True)
    assert fake.sent(f"/blobs/{layer['digest']}") == layer["size"]


def test_windows_grow_while_nothing_is_found(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 20 << 20, {FRAMEWORK: CONTENT})
    reference = image(fake, [layer], [COPIES])
    fake.reset()
    assert found(read(reference, pattern=PATH)) == {PATH: CONTENT}
    sizes = [one.sent for one in fake.log if layer["digest"] in one.path]
    assert sizes[:2] == [64 << 10, 1 << 20]
    assert max(sizes) <= 8 << 20


def test_an_upper_link_is_followed_into_layers_already_passed(fake: FakeRegistry, read: Read) -> None:
    lower = large(fake, 9 << 20, {"usr/share/x/framework.yml": CONTENT})
    upper = fake.add_blob(REPOSITORY, _linking("opt/metadata", "/usr/share"))
    other = tiny(fake, {"opt/metadata/y/framework.yml": b"hidden by the link"})
    answer = read(image(fake, [lower, other, upper], [OTHER, COPIES, OTHER]))
    assert found(answer) == {"/opt/metadata/x/framework.yml": CONTENT}
    assert answer.complete


def test_a_known_link_is_followed_even_when_something_else_was_found(fake: FakeRegistry, read: Read) -> None:
    lower = large(fake, 9 << 20, {"srv/y/framework.yml": b"y"})
    upper = fake.add_blob(REPOSITORY, _linking("opt/metadata/y", "/srv/y"))
    answer = read(
        image(fake, [unread(GIGABYTE), lower, upper, tiny(fake, {FRAMEWORK: CONTENT})], [OTHER] * 4)
    )
    assert found(answer) == {PATH: CONTENT, "/opt/metadata/y/framework.yml": b"y"}
    assert len(answer.unread) == 1


def _linking(name: str, target: str) -> bytes:
    return gzip.compress(tar(member(name, type=tarfile.SYMTYPE, linkname=target)))


def test_layers_that_hold_nothing_are_known_by_heart(fake: FakeRegistry, read: Read) -> None:
    empties = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{digest}", "size": 32}
        for digest in (
            "a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4",
            "4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1",
        )
    ]
    answer = read(image(fake, [tiny(fake, {FRAMEWORK: CONTENT}), *empties]))
    assert (found(answer), answer.complete) == ({PATH: CONTENT}, True)
    assert not any(blobs_asked_for(fake, empty) for empty in empties)


def test_a_layer_listed_twice_is_read_once(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 2 << 20, {FRAMEWORK: CONTENT})
    answer = read(image(fake, [layer, tiny(fake, {"opt/.wh.metadata": b""}), layer]))
    assert found(answer) == {PATH: CONTENT}
    assert blobs_asked_for(fake, layer) == 1


def test_an_image_without_layers(fake: FakeRegistry, read: Read) -> None:
    answer = read(image(fake, []))
    assert (answer.status, answer.complete, answer.route) == (Status.ABSENT, True, "cache")


def test_questions_that_have_no_answer(fake: FakeRegistry, read: Read) -> None:
    with pytest.raises(NotFound):
        read(fake.reference("team/none", tag="1.0"))
    with pytest.raises(UsageError, match="not the path of a file inside an image"):
        read(fake.reference("team/none", tag="1.0"), pattern="/opt/")
    assert not fake.count("//")
