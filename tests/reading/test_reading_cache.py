"""What is kept of a read, what is shared, and what is never believed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.cachedir import cache_dir
from catalog.references import Digest
from generator.answer import ReadAnswer, Status
from generator.cache import FOLDER, ReadCache
from generator.images.source import Cost
from generator.ladder.flights import Cancelled, Flights
from generator.layers.facts import BLOCK, DIRECTORY, Checked, LayerFacts, Node, NodeKind
from generator.layers.pattern import Pattern
from reading.pictured import (
    CONTENT,
    COPIES,
    FRAMEWORK,
    OTHER,
    PATH,
    blobs_asked_for,
    image,
    large,
    tiny,
    unread,
)
from services.fake_registry import FakeRegistry

Read = Callable[..., ReadAnswer]
PATTERN = Pattern.parse("/opt/metadata/**/framework.yml")
LAYER = Digest.of(b"layer")
FACTS = LayerFacts(
    pattern=PATTERN.text,
    nodes={
        "opt": DIRECTORY,
        "opt/metadata/\udcff": BLOCK,
        "opt/metadata/f": Node(NodeKind.FILE, content=b"\x00\xff"),
        "opt/metadata/l": Node(NodeKind.SYMLINK, target="../x"),
        "opt/metadata/big": Node(NodeKind.FILE, problem="has too many bytes"),
    },
    whiteouts=frozenset({"opt/gone"}),
    opaque=frozenset({""}),
    whole=True,
    checked=Checked.DIGEST,
)


def kept(kind: str) -> list[Path]:
    return sorted(path for path in cache_dir(FOLDER, kind).rglob("*") if path.is_file())


def test_a_shared_base_layer_is_read_once(fake: FakeRegistry, read: Read) -> None:
    base = large(fake, 9 << 20, {"opt/metadata/base/framework.yml": b"base"})
    references = [
        image(fake, [base, tiny(fake, {f"opt/metadata/{n}/framework.yml": b"%d" % n})], tag=f"{n}")
        for n in range(25)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda reference: read(reference, complete=True), references))
    for number, answer in enumerate(answers):
        assert sorted(file.content for file in answer.files) == sorted([b"base", b"%d" % number])
    assert fake.sent(f"/blobs/{base['digest']}") == base["size"]


def test_facts_of_a_layer_serve_other_images(fake: FakeRegistry, read: Read) -> None:
    base = large(fake, 9 << 20, {FRAMEWORK: CONTENT})
    read(image(fake, [base], [COPIES]))
    fake.reset()
    answer = read(image(fake, [base, tiny(fake, {"etc/x": b""})], [COPIES, OTHER], tag="2"))
    assert (answer.files[0].content, answer.complete) == (CONTENT, True)
    assert blobs_asked_for(fake, base) == 0


def test_without_the_cache_nothing_is_used_and_nothing_kept(fake: FakeRegistry, read: Read) -> None:
    layer = tiny(fake, {FRAMEWORK: CONTENT})
    reference = image(fake, [layer])
    for expected in (1, 2):
        assert read(reference, cache=False).route == "layers"
        assert blobs_asked_for(fake, layer) == expected
    assert not cache_dir(FOLDER).exists()


def test_what_was_stopped_early_is_no_fact_of_the_layer(fake: FakeRegistry, read: Read) -> None:
    layer = large(fake, 12 << 20, {FRAMEWORK: CONTENT}, last=False)
    reference = image(fake, [layer], [COPIES])
    assert read(reference, pattern=PATH).verification == "partial"
    assert not kept("layers")
    # The answer itself is kept as what it is, and doesn't pass for more.
    again = read(reference, pattern=PATH)
    assert (again.route, again.verification) == ("cache", "partial")
    assert read(reference, pattern=PATH, verify_full=True).verification == "digest"


def test_a_default_answer_never_replaces_a_complete_one(fake: FakeRegistry, read: Read) -> None:
    cache = ReadCache()
    reference = image(fake, [large(fake, 9 << 20), tiny(fake, {FRAMEWORK: CONTENT})], [OTHER, COPIES])
    complete = read(reference, complete=True)
    cache.put_answer(replace(complete, complete=False, unread=(LAYER,)), PATTERN, None, "")
    found = cache.answer(complete.manifest_digest, PATTERN, "")
    assert found is not None
    assert found.complete


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b"x", b"y"),
        lambda _: b"",
        lambda _: b"\xff" * 100,
        lambda data: data.partition(b"\n")[2],
    ],
)
@pytest.mark.parametrize("kind", ["answers", "images", "layers", "references"])
def test_damaged_files_are_read_anew(
    fake: FakeRegistry, read: Read, kind: str, damage: Callable[[bytes], bytes]
) -> None:
    reference = image(fake, [tiny(fake, {FRAMEWORK: CONTENT})])
    read(reference)
    for path in kept(kind):
        path.write_bytes(damage(path.read_bytes()))
    if kind == "layers":
        for path in kept("answers"):
            path.unlink()
    answer = read(reference)
    assert (answer.status, answer.files[0].content, answer.complete) == (Status.FOUND, CONTENT, True)


def checksummed(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_a_file_about_something_else_is_dropped() -> None:
    cache = ReadCache()
    cache.put_facts(LAYER, PATTERN, FACTS)
    [path] = kept("layers")
    cache.put_facts(Digest.of(b"other"), PATTERN, FACTS)
    [other] = [found for found in kept("layers") if found != path]
    path.write_bytes(other.read_bytes())
    assert cache.facts(LAYER, PATTERN) is None
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(version="evaldock-read-0"),
        lambda document: document["value"].pop("nodes"),
        lambda document: document["value"].update(nodes={"opt": {"kind": "unheard-of"}}),
        lambda document: document["value"]["nodes"]["opt/metadata/f"].update(content="AAAA"),
        lambda document: document["value"].update(checked="somehow"),
        lambda document: document.update(value=[]),
    ],
)
def test_a_file_with_a_good_checksum_and_bad_contents_is_dropped(
    change: Callable[[dict[str, object]], object],
) -> None:
    cache = ReadCache()
    cache.put_facts(LAYER, PATTERN, FACTS)
    [path] = kept("layers")
    document = json.loads(path.read_bytes().partition(b"\n")[2])
    change(document)
    path.write_bytes(checksummed(json.dumps(document).encode()))
    assert cache.facts(LAYER, PATTERN) is None
    assert not path.exists()


def test_an_answer_with_another_content_than_its_sha256_is_dropped(fake: FakeRegistry, read: Read) -> None:
    reference = image(fake, [tiny(fake, {FRAMEWORK: CONTENT})])
    answer = read(reference)
    [path] = kept("answers")
    document = json.loads(path.read_bytes().partition(b"\n")[2])
    document["value"]["files"][0]["content"] = "ZXZpbA=="
    path.write_bytes(checksummed(json.dumps(document).encode()))
    assert ReadCache().answer(answer.manifest_digest, PATTERN, "") is None
    assert read(reference).files[0].content == CONTENT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_elses_file_is_not_believed() -> None:
    cache = ReadCache()
    cache.put_facts(LAYER, PATTERN, FACTS)
    [path] = kept("layers")
    os.chown(path, 12345, 12345)
    assert cache.facts(LAYER, PATTERN) is None


def test_facts_survive_being_kept() -> None:
    cache = ReadCache()
    cache.put_facts(LAYER, PATTERN, FACTS)
    assert cache.facts(LAYER, PATTERN) == FACTS
    assert cache.facts(LAYER, Pattern.parse("/other")) is None


def test_a_folder_that_can_not_be_written_only_costs_time(
    tmp_path: Path, fake: FakeRegistry, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EVALDOCK_CACHE", str(tmp_path / "file" / "below"))
    reference = image(fake, [tiny(fake, {FRAMEWORK: CONTENT})])
    assert read(reference).files[0].content == CONTENT
    assert read(reference).route == "layers"


def test_the_answer_for_one_platform_is_none_for_another(fake: FakeRegistry, read: Read) -> None:
    made = [
        fake.add_image("team/harness", [tiny(fake, {FRAMEWORK: name.encode()})], platform=name)
        for name in ("linux/amd64", "linux/arm64")
    ]
    fake.add_index("team/harness", made, tag="multi")
    reference = fake.reference("team/harness", tag="multi")
    for _ in range(2):
        asked = (None, "linux/amd64", "linux/arm64", "arm64")
        answers = [read(reference, platform=platform) for platform in asked]
        assert all(answer.files[0].content.decode() == answer.platform for answer in answers)
        assert [answer.platform for answer in answers] == ["linux/amd64"] * 2 + ["linux/arm64"] * 2
        assert len({answer.digest for answer in answers}) == 1
        assert {answer.platforms for answer in answers} == {("linux/amd64", "linux/arm64")}


def test_flights_let_one_read_and_the_others_wait() -> None:
    flights: Flights[str] = Flights()
    reading, go_on, reads = threading.Event(), threading.Event(), []

    def read() -> str:
        reads.append(1)
        reading.set()
        go_on.wait(10)
        return "landed"

    def once() -> str:
        return flights.once("key", lambda: None, read, threading.Event())

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(once)
        reading.wait(10)
        others = [pool.submit(once) for _ in range(4)]
        go_on.set()
        assert {one.result(10) for one in (first, *others)} == {"landed"}
    assert len(reads) <= 5
    assert first.result() == "landed"


def test_whoever_waited_in_vain_reads_for_itself() -> None:
    flights: Flights[str] = Flights()
    reading, go_on = threading.Event(), threading.Event()

    def fail() -> str:
        reading.set()
        go_on.wait(10)
        raise ConnectionError

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flights.once, "key", lambda: None, fail, threading.Event())
        reading.wait(10)
        second = pool.submit(flights.once, "key", lambda: None, lambda: "mine", threading.Event())
        go_on.set()
        assert second.result(10) == "mine"
        with pytest.raises(ConnectionError):
            first.result(10)


def test_waiting_can_be_cancelled() -> None:
    flights: Flights[str] = Flights()
    reading, go_on, cancelled = threading.Event(), threading.Event(), threading.Event()

    def read() -> str:
        reading.set()
        go_on.wait(10)
        return "late"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flights.once, "key", lambda: None, read, threading.Event())
        reading.wait(10)
        cancelled.set()
        with pytest.raises(Cancelled):
            flights.once("key", lambda: None, read, cancelled)
        go_on.set()
        assert first.result(10) == "late"


def test_costs_are_those_of_each_read(fake: FakeRegistry, read: Read) -> None:
    reference = image(fake, [unread(1 << 30), tiny(fake, {FRAMEWORK: CONTENT})], [OTHER, COPIES])
    fake.reset()
    answer = read(reference)
    assert answer.cost == Cost(len(fake.log), fake.sent())
