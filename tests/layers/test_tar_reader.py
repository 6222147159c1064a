"""The header walker on what real and hostile tars hold, one trap at a time."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import Refused
from generator.layers.limits import LimitPassed, Limits
from generator.layers.member import Kind, Member
from generator.layers.names import clean, text
from generator.layers.tar import TarReader
from layers.tars import END, archive, contents, file, header, members, octal, padded, pax

KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.CHRTYPE: Kind.OTHER,
    tarfile.BLKTYPE: Kind.OTHER,
    tarfile.FIFOTYPE: Kind.OTHER,
}

names = st.lists(
    st.one_of(
        st.text("abc.é漢", min_size=1, max_size=6),
        st.integers(90, 130).map(lambda length: "n" * length),
    ),
    min_size=1,
    max_size=4,
).map("/".join)
decorated = st.tuples(st.sampled_from(["", "./", "/"]), names).map("".join)
entries = st.tuples(
    decorated, st.sampled_from(sorted(KINDS)), decorated, st.integers(0, 3), st.binary(max_size=1200)
)


def info(name: str, kind: bytes, link: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.type = kind
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        made.linkname = link
    data = data if KINDS[kind] is Kind.FILE else b""
    made.size = len(data)
    return made, data


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=80, deadline=None)
@given(st.lists(entries, max_size=8))
def test_reads_what_tarfile_reads(form: int, listed: list[tuple[str, bytes, str, int, bytes]]) -> None:
    data = archive([info(name, kind, link, body) for name, kind, link, _, body in listed], form=form)
    with tarfile.open(fileobj=io.BytesIO(data)) as theirs:
        expected = [
            (
                text(clean(one.name.encode("utf-8", "surrogateescape"))),
                KINDS[one.type],
                found.read() if one.isreg() and (found := theirs.extractfile(one)) else b"",
                one.linkname if one.issym() else text(clean(one.linkname.encode())),
            )
            for one in theirs.getmembers()
        ]
    reader = TarReader(io.BytesIO(data))
    # Every other content is left where it is: what follows must be found all the same.
    ours = []
    for number, member in enumerate(reader.members()):
        body = reader.content() if listed[number][3] else expected[number][2]
        assert member.size == len(expected[number][2])
        ours.append((member.path, member.kind, body, member.target))
    assert ours == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_damage_is_refused_or_read_but_never_anything_else(
    listed: list[tuple[str, bytes, str, int, bytes]], chance: random.Random
) -> None:
    data = bytearray(archive([info(*one[:3], one[4]) for one in listed]))
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    damaged = bytes(data[: chance.randrange(len(data))]) if chance.random() < 0.3 else bytes(data)
    with contextlib.suppress(Refused):
        contents(damaged)


def test_posix_prefix() -> None:
    with_prefix = header(b"framework.yml", tail=b"opt/metadata/x")
    assert [member.path for member in members(with_prefix + END)] == ["opt/metadata/x/framework.yml"]


def test_gnu_headers_have_times_where_the_prefix_would_be() -> None:
    block = header(b"framework.yml", magic=b"ustar  \0", tail=b"14371225430\0")
    assert [member.path for member in members(block + END)] == ["framework.yml"]


def test_star_headers_have_a_shorter_prefix() -> None:
    tail = b"opt".ljust(131, b"\0") + b"14371225430\0".ljust(32, b"\0") + b"tar\0"
    assert [member.path for member in members(header(b"f", tail=tail) + END)] == ["opt/f"]


def test_a_name_that_fills_its_field() -> None:
    assert [member.path for member in members(header(b"n" * 100) + END)] == ["n" * 100]


def test_gnu_long_names_and_links() -> None:
    name, link = b"d/" * 80 + b"f", b"t/" * 90 + b"g"
    data = (
        header(b"././@LongLink", kind=b"K", size=octal(len(link) + 1))
        + padded(link + b"\0")
        + header(b"././@LongLink", kind=b"L", size=octal(len(name) + 1))
        + padded(name + b"\0")
        + header(name[:100], kind=b"2", link=link[:100])
        + file(b"after", b"x")
        + END
    )
    assert members(data) == [
        Member(name.decode(), Kind.SYMLINK, 0, link.decode()),
        Member("after", Kind.FILE, 1),
    ]


def test_pax_path_link_and_size() -> None:
    data = (
        pax(path=b"opt/\xc3\xa9", hdrcharset=b"BINARY", size=b"5")
        + header(b"short", size=octal(0))
        + padded(b"hello")
        + pax(linkpath=b"./opt/\xc3\xa9", comment=b"other")
        + header(b"link", kind=b"1", link=b"x")
        + END
    )
    reader = TarReader(io.BytesIO(data))
    walk = reader.members()
    assert next(walk) == Member("opt/é", Kind.FILE, 5)
    assert reader.content() == b"hello"
    assert next(walk) == Member("link", Kind.HARDLINK, 0, "opt/é")


def test_global_pax_headers_change_nothing() -> None:
    payload = b"18 path=elsewhere\n"
    data = header(b"pax_global_header", kind=b"g", size=octal(len(payload))) + padded(payload)
    assert [member.path for member in members(data + file(b"here", b"x") + END)] == ["here"]


@pytest.mark.parametrize("payload", [b"x", b"99 path=a\n", b"9 path=a", b"12 path=a\0b\n", b"7 path\n"])
def test_malformed_pax_headers_are_refused(payload: bytes) -> None:
    data = header(b"p", kind=b"x", size=octal(len(payload))) + padded(payload) + file(b"f", b"x") + END
    with pytest.raises(Refused, match="a PAX header has"):
        members(data)


def test_base_256_sizes() -> None:
    size = bytes([0x80]) + (3).to_bytes(11, "big")
    data = header(b"f", size=size) + padded(b"abc") + file(b"g", b"") + END
    assert contents(data) == [("f", b"abc"), ("g", b"")]
    with pytest.raises(Refused, match="a negative number in a tar header"):
        members(header(b"f", size=b"\xff" * 12) + END)


@pytest.mark.parametrize(
    "size", [b"00000000003\0", b"000000000003", b"          3 ", b"3\0garbage..", b"3 \0"]
)
def test_sizes_as_different_writers_put_them(size: bytes) -> None:
    data = header(b"f", size=size) + padded(b"abc") + file(b"g", b"z") + END
    assert contents(data) == [("f", b"abc"), ("g", b"z")]


@pytest.mark.parametrize("size", [b"-0000000003\0", b"0o000000003\0", b"00000000009\0", b"0x3\0", b"1_0\0"])
def test_what_is_no_size_is_refused(size: bytes) -> None:
    with pytest.raises(Refused):
        members(header(b"f", size=size) + padded(b"abc") + END)


def test_old_gnu_sparse_files_are_passed_at_their_stored_size() -> None:
    # The header says that its map goes on in an extension block, and that one says so once more.
    tail = bytearray(167)
    tail[482 - 345] = 1
    sparse = header(b"s", kind=b"S", size=octal(700), magic=b"ustar  \0", tail=bytes(tail))
    more, last = bytearray(512), bytes(512)
    more[504] = 1
    data = sparse + bytes(more) + last + padded(b"d" * 700) + file(b"f", b"x") + END
    reader = TarReader(io.BytesIO(data))
    seen = [(member.path, reader.sparse) for member in reader.members()]
    assert seen == [("s", True), ("f", False)]


def test_pax_sparse_files_have_their_name_in_the_header() -> None:
    sparse = pax(GNU__sparse__major=b"1", GNU__sparse__name=b"real", GNU__sparse__realsize=b"99999")
    data = sparse + header(b"GNUSparseFile.0/real", size=octal(512)) + bytes(512) + file(b"f", b"x") + END
    reader = TarReader(io.BytesIO(data))
    assert [(member.path, reader.sparse) for member in reader.members()] == [("real", True), ("f", False)]


def test_links_directories_and_devices_have_no_content_whatever_their_size_says() -> None:
    blocks = [header(kind + b"name", kind=kind, size=octal(4096)) for kind in (b"1", b"2", b"3", b"5", b"6")]
    assert [member.path for member in members(b"".join(blocks) + file(b"f", b"x") + END)] == [
        *("1name", "2name", "3name", "5name", "6name"),
        "f",
    ]


def test_gnu_directories_with_a_list_of_their_files() -> None:
    data = header(b"d/", kind=b"D", size=octal(600)) + bytes(1024) + file(b"f", b"x") + END
    assert members(data) == [Member("d", Kind.DIRECTORY), Member("f", Kind.FILE, 1)]


def test_directories_from_before_there_was_a_type_for_them() -> None:
    assert members(header(b"d/", kind=b"\0", magic=b"") + END) == [Member("d", Kind.DIRECTORY)]


def test_names_are_cleaned() -> None:
    dirty = [b"./opt//metadata/./f", b"/opt/x/../metadata/f", b"../../opt/metadata/f", b"opt/metadata/f/"]
    data = b"".join(file(name, b"") for name in dirty) + END
    assert {member.path for member in members(data)} == {"opt/metadata/f"}


def test_bytes_that_are_no_utf8_stay_different_names() -> None:
    found = members(file(b"\xff", b"") + file(b"\xfe", b"") + END)
    assert [member.path for member in found] == ["\udcff", "\udcfe"]


def test_early_writers_summed_signed_bytes() -> None:
    name = b"\xe9t\xe9"
    unsigned = sum(header(name, checksum=b" " * 8))
    block = header(name, checksum=b"%06o\0 " % (unsigned - 2 * 256))
    assert len(members(block + END)) == 1


@pytest.mark.parametrize("checksum", [b"000000\0 ", b"777777\0 ", b"        ", b"garbage!"])
def test_a_wrong_checksum_is_refused(checksum: bytes) -> None:
    with pytest.raises(Refused):
        members(header(b"f", checksum=checksum) + END)


def test_a_checksum_over_the_modulus_of_the_shortcut() -> None:
    # Adler-32 counts modulo 65521; a block of high bytes sums to more.
    block = header(b"\xff" * 100, tail=b"\xfe" * 155)
    assert sum(block) > 65521
    assert len(members(block + END)) == 1


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(Refused, match="not a number in a tar header"):
        members(b"#!/bin/sh\n" * 100)
    with pytest.raises(Refused, match="not a tar archive, or a damaged one: the checksum"):
        members(b"0" * 1000)


def test_nothing_after_the_end_is_read() -> None:
    assert [member.path for member in members(file(b"f", b"x") + END + b"\xff" * 5000)] == ["f"]


def test_a_missing_end_is_forgiven_at_a_boundary_only() -> None:
    whole = file(b"f", b"abc")
    assert [member.path for member in members(whole)] == ["f"]
    for cut, where in ((600, "within a tar member"), (300, "within the header of a tar member")):
        with pytest.raises(Refused, match=f"the layer ends {where}"):
            members(whole[:cut])


def test_limits() -> None:
    with pytest.raises(LimitPassed, match="the layer has more than 3 members"):
        members(file(b"f", b"") * 5, limits=Limits(members=3))
    with pytest.raises(LimitPassed, match="the layer has a header of 2000000 bytes"):
        members(header(b"x", kind=b"x", size=octal(2_000_000)))
    with pytest.raises(LimitPassed, match="a member of the layer has 8589934591 bytes"):
        members(header(b"f", size=octal(2**33 - 1)), limits=Limits(decompressed=1 << 30))
    with pytest.raises(LimitPassed, match="a member of the layer has"):
        members(header(b"f", size=b"\x80" + b"\x7f" * 11))
