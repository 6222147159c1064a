"""Whatever the layers are, resolving them from facts gives what unpacking them would."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import image_parts
from generator.layers.blob import BlobStream
from generator.layers.builder import FactsBuilder
from generator.layers.facts import Checked, LayerFacts
from generator.layers.member import Kind, Member
from generator.layers.overlay import Known, Resolution, resolve
from generator.layers.pattern import Pattern
from generator.layers.scanning import Scan
from layers import image_model as model
from layers.image_model import Entry

NAMES = ("o", "m", "a", "b", "f")
PATTERNS = ("/o/m/**/f", "/o/m/f", "/o/*/f", "/**/f", "/o/m/a/f", "/o/**/m/**/f", "/f")

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
near = st.lists(st.sampled_from(NAMES), min_size=0, max_size=2).map(lambda rest: "/".join(["o", "m", *rest]))
anywhere = st.one_of(near, paths)
targets = st.one_of(
    anywhere.map(lambda path: "/" + path),
    st.tuples(st.sampled_from(["", "../", "../../", "./", "../../../../"]), paths).map("".join),
    st.tuples(paths, paths).map("/../".join),
    st.sampled_from(["/", ".", "..", "../.."]),
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    path = draw(anywhere)
    kind = draw(st.sampled_from(["file", "file", "file", "dir", "link", "hard", "other", "wh", "opq"]))
    directory, _, name = path.rpartition("/")
    before = directory + "/" if directory else ""
    if kind == "file":
        content = draw(st.binary(min_size=4, max_size=4))
        return Entry(Member(path, Kind.FILE, 4), content)
    if kind == "link":
        return Entry(Member(path, Kind.SYMLINK, 0, draw(targets)))
    if kind == "hard":
        return Entry(Member(path, Kind.HARDLINK, 0, draw(anywhere)))
    if kind == "wh":
        return Entry(Member(f"{before}.wh.{name}", Kind.FILE))
    if kind == "opq":
        return Entry(Member(f"{before}.wh..wh..opq", Kind.FILE))
    return Entry(Member(path, Kind.DIRECTORY if kind == "dir" else Kind.OTHER))


def without_overtaken_links(layer: list[Entry]) -> list[Entry]:
    """Without hard links whose other name changes later in the same tar: no writer makes such, and only
    keeping every file of the layer could tell what they were linked to."""
    kept: list[Entry] = []
    for number, entry in enumerate(layer):
        if entry.member.kind is Kind.HARDLINK:
            target = model.split(entry.member.target)
            then = model.lexical(model.own_tree(layer[:number], {})[0], target)
            if model.lexical(model.own_tree(layer, {})[0], target) != then or isinstance(then, dict):
                continue
        kept.append(entry)
    return kept


def tar_of(layer: Sequence[Entry]) -> bytes:
    kinds = {
        Kind.FILE: tarfile.REGTYPE,
        Kind.DIRECTORY: tarfile.DIRTYPE,
        Kind.SYMLINK: tarfile.SYMTYPE,
        Kind.HARDLINK: tarfile.LNKTYPE,
        Kind.OTHER: tarfile.FIFOTYPE,
    }
    return image_parts.tar(
        *(
            image_parts.member(
                entry.member.path,
                entry.content,
                type=kinds[entry.member.kind],
                linkname=entry.member.target,
            )
            for entry in layer
        )
    )


layers_of_images = st.lists(
    st.lists(entries(), max_size=6).map(without_overtaken_links), min_size=1, max_size=5
)


def facts_of(layer: Sequence[Entry], pattern: Pattern) -> LayerFacts:
    builder = FactsBuilder(pattern)
    for entry in layer:
        if builder.add(entry.member):
            builder.content(entry.member.path, entry.content)
    facts = builder.facts(whole=True, checked=Checked.DIGEST)
    assert LayerFacts.from_json(facts.to_json()) == facts
    return facts


def resolved(layers: Sequence[Sequence[Entry]], pattern: Pattern, read: set[int]) -> Resolution:
    """With the layers in `read` known, for every pattern that turns out to be wanted."""
    known: dict[Pattern, list[LayerFacts | None]] = {}
    wanted = {pattern}
    while wanted:
        for region in wanted:
            known[region] = [
                facts_of(layer, region) if number in read else None for number, layer in enumerate(layers)
            ]
        checked: Known = known
        answer = resolve(pattern, checked)
        wanted = set(answer.wanted)
        assert not wanted & set(known)
    return answer


def contents(answer: Resolution) -> dict[str, bytes]:
    return {hit.path: hit.node.content or b"" for hit in answer.hits}


@pytest.mark.parametrize("text", PATTERNS)
@settings(max_examples=100, deadline=None)
@given(layers=layers_of_images, seed=st.integers(0, 1000))
def test_matches_what_unpacking_gives(text: str, layers: list[list[Entry]], seed: int) -> None:
    pattern = Pattern.parse(text)
    image = model.unpack(layers)
    expected = model.find(image, pattern.parts)

    everything = set(range(len(layers)))
    answer = resolved(layers, pattern, everything)
    assert not answer.unknown
    assert not any(hit.doubt for hit in answer.hits)
    found = contents(answer)
    # Each path, looked up in the unpacked image, is that file; and no file is missing.
    places = {path: model.real(image, path.split("/")) for path in found}
    assert {path: place[0] for path, place in places.items()} == found
    assert {place[1]: found[path] for path, place in places.items()} == expected

    # Reading only what could still matter, in any order, ends with the same; nothing final ever changes.
    chance = random.Random(seed)
    read: set[int] = set()
    while (partial := resolved(layers, pattern, read)).unknown:
        assert partial.unknown <= everything - read
        assert partial.blocking <= partial.unknown
        for hit in partial.hits:
            assert hit.doubt <= partial.unknown
            if not hit.doubt:
                assert found[hit.path] == hit.node.content
        read.add(chance.choice(sorted(partial.unknown)))
    assert contents(partial) == found


@settings(max_examples=150, deadline=None)
@given(layer=st.lists(entries(), max_size=12))
def test_passing_members_over_loses_nothing(layer: list[Entry]) -> None:
    patterns = [Pattern.parse(text) for text in PATTERNS]
    expected = {pattern: facts_of(layer, pattern) for pattern in patterns}
    # Each pattern alone, where most members are passed over unseen, and all of them in one pass.
    for together in ([pattern] for pattern in patterns), [patterns]:
        for some in together:
            scan = Scan(some)
            scan.run(BlobStream([tar_of(layer)]))
            assert scan.whole
            assert scan.facts(Checked.DIGEST) == {pattern: expected[pattern] for pattern in some}
