"""What images do to the files of their lower layers, one trap at a time, from tars to answers."""

from __future__ import annotations

import tarfile

import pytest

from generator.layers.facts import NodeKind
from generator.layers.limits import LimitPassed
from image_parts import member, tar
from layers.scanned import files, resolved
from layers.tars import END, file, header

X = "/opt/metadata/x/framework.yml"
Y = "/opt/metadata/y/framework.yml"
ONE = tar(member("opt/metadata/x/framework.yml", b"one"))
BOTH = tar(member("opt/metadata/x/framework.yml", b"one"), member("opt/metadata/y/framework.yml", b"two"))
DIRECTORY = {"type": tarfile.DIRTYPE}


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def test_every_match_is_found_whatever_layer_it_is_in() -> None:
    assert files(BOTH, tar(member("opt/metadata/framework.yml", b"three"))) == {
        "/opt/metadata/framework.yml": b"three",
        X: b"one",
        Y: b"two",
    }


def test_an_upper_layer_replaces_a_file() -> None:
    assert files(BOTH, tar(member("./opt/metadata/x/framework.yml", b"new"))) == {X: b"new", Y: b"two"}


def test_the_last_duplicate_in_a_tar_wins() -> None:
    duplicates = tar(
        member("opt/metadata/x/framework.yml", b"first"), member("./opt/metadata/x/framework.yml", b"last")
    )
    assert files(duplicates) == {X: b"last"}


@pytest.mark.parametrize(
    "whiteout",
    [
        "opt/metadata/x/.wh.framework.yml",
        "opt/metadata/.wh.x",
        "./opt/.wh.metadata",
        ".wh.opt",
        "opt/metadata/.wh..wh..opq",
        "opt/.wh..wh..opq",
        ".wh..wh..opq",
    ],
)
def test_a_whiteout_on_the_file_or_any_directory_above_it(whiteout: str) -> None:
    assert files(ONE, tar(member(whiteout))) == {}


@pytest.mark.parametrize("whiteout", ["opt/metadata/.wh.xy", "opt/.wh.meta", "usr/.wh.opt", "opt/.wh."])
def test_a_whiteout_of_something_else(whiteout: str) -> None:
    assert files(ONE, tar(member(whiteout))) == {X: b"one"}


def test_bookkeeping_of_aufs_deletes_nothing() -> None:
    assert files(ONE, tar(member(".wh..wh.plnk", **DIRECTORY), member("opt/.wh..wh.aufs"))) == {X: b"one"}


@pytest.mark.parametrize("whiteout", ["opt/metadata/.wh.x", "opt/metadata/x/.wh..wh..opq", ".wh.opt"])
@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_spares_its_own_layer(whiteout: str, first: bool) -> None:
    members = [member(whiteout), member("opt/metadata/x/framework.yml", b"new")]
    assert files(ONE, tar(*members if first else reversed(members))) == {X: b"new"}


def test_what_was_deleted_can_come_back() -> None:
    assert files(ONE, tar(member("opt/.wh.metadata")), BOTH) == {X: b"one", Y: b"two"}


@pytest.mark.parametrize("path", ["opt", "opt/metadata", "opt/metadata/x"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_directory_hides_what_was_below_it(path: str, kind: bytes) -> None:
    assert files(ONE, tar(member(path, type=kind, linkname="nowhere"))) == {}


def test_a_directory_keeps_what_was_below_it() -> None:
    assert files(ONE, tar(member("opt/", **DIRECTORY), member("opt/metadata/x", **DIRECTORY))) == {X: b"one"}


def test_a_directory_over_a_file_begins_empty() -> None:
    assert files(ONE, tar(member("opt/metadata")), tar(member("opt/metadata", **DIRECTORY))) == {}
    assert files(ONE, tar(member("opt/metadata")), tar(member("opt/metadata/other/file"))) == {}


def test_a_file_over_a_directory_and_back_within_one_tar() -> None:
    layer = tar(
        member("opt/metadata/x/framework.yml", b"gone"),
        member("opt/metadata/x"),
        member("opt/metadata/x/other", b"makes it a directory again"),
    )
    assert files(layer) == {}


def test_a_marker_counts_whatever_its_own_layer_does_next() -> None:
    layer = tar(
        member("opt/metadata/x/.wh..wh..opq"),
        member("opt/metadata"),
        member("opt/metadata/y/framework.yml", b"two"),
    )
    assert files(ONE, layer) == {Y: b"two"}


def test_an_upper_directory_link_redirects() -> None:
    share = tar(member("usr/share/meta/x/framework.yml", b"there"))
    for target in ("/usr/share/meta", "../usr/share/meta", "../../../usr/./share//meta/"):
        assert files(share, ONE, tar(link("opt/metadata", target))) == {X: b"there"}


def test_a_link_on_the_first_part_of_the_way() -> None:
    lower = tar(member("data/metadata/x/framework.yml", b"there"))
    assert files(ONE, lower, tar(link("opt", "data"))) == {X: b"there"}


def test_whiteouts_count_where_a_link_leads() -> None:
    lower = tar(
        member("usr/share/meta/x/framework.yml", b"one"), member("usr/share/meta/y/framework.yml", b"two")
    )
    upper = tar(link("opt/metadata", "/usr/share/meta"), member("usr/share/meta/.wh.x"))
    assert files(lower, upper) == {Y: b"two"}


def test_a_directory_over_a_link_ends_the_redirection() -> None:
    lower = tar(member("usr/share/meta/x/framework.yml", b"there"))
    upper = tar(member("opt/metadata/y/framework.yml", b"here"))
    assert files(lower, tar(link("opt/metadata", "/usr/share/meta")), upper) == {Y: b"here"}


@pytest.mark.parametrize(
    "target", ["/usr/share/x.yml", "../../../usr/share/x.yml", "../x/../../../usr/share/x.yml"]
)
def test_a_linked_file_absolute_and_relative(target: str) -> None:
    lower = tar(member("usr/share/x.yml", b"linked"))
    assert files(lower, tar(link("opt/metadata/x/framework.yml", target))) == {X: b"linked"}


def test_a_link_never_leaves_the_root() -> None:
    lower = tar(member("etc/passwd", b"the image's own"))
    assert files(lower, tar(link("opt/metadata/x/framework.yml", "../../../../../../etc/passwd"))) == {
        X: b"the image's own"
    }


def test_a_chain_of_links_up_to_the_limit_of_hops() -> None:
    def chain(length: int) -> bytes:
        links = [link(f"l/{number}", f"{number + 1}") for number in range(length)]
        return tar(link("opt/metadata/x/framework.yml", "/l/0"), *links, member(f"l/{length}", b"at the end"))

    assert files(chain(39)) == {X: b"at the end"}
    assert files(chain(40)) == {}


@pytest.mark.parametrize(
    "links",
    [
        [link("opt/metadata", "metadata")],
        [link("opt/metadata", "/opt/other"), link("opt/other", "metadata")],
        [link("opt/metadata/x", ".")],
        [link("opt/metadata/x", "/")],
        [link("opt/metadata/x", "../metadata")],
        [link("opt/metadata/x/framework.yml", "framework.yml")],
        [link("opt/metadata/x/framework.yml", "/nowhere")],
        [link("opt/metadata/x/framework.yml", "/")],
    ],
)
def test_links_that_lead_nowhere_or_round_and_round(links: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    assert files(tar(*links)) == {}


def test_two_stars_follow_directory_links_but_enter_no_directory_twice() -> None:
    layer = tar(
        member("opt/metadata/x/framework.yml", b"one"),
        link("opt/metadata/also-x", "x"),
        link("opt/metadata/y", "/srv/y"),
        link("opt/metadata/z", "/srv/y"),
        member("srv/y/framework.yml", b"two"),
    )
    assert set(files(layer).values()) == {b"one", b"two"}
    assert len(files(layer)) == 2
    assert files(layer)[X] == b"one"


def test_linked_files_are_matches_of_their_own() -> None:
    layer = tar(
        member("opt/metadata/x/framework.yml", b"one"),
        link("opt/metadata/y/framework.yml", "../x/framework.yml"),
    )
    assert files(layer) == {X: b"one", Y: b"one"}


def test_hard_links_within_a_layer() -> None:
    layer = tar(
        member("usr/share/x.yml", b"linked"),
        hard_link("opt/metadata/x/framework.yml", "./usr/share/x.yml"),
        hard_link("opt/metadata/y/framework.yml", "opt/metadata/x/framework.yml"),
    )
    assert files(layer) == {X: b"linked", Y: b"linked"}


def test_a_hard_link_to_a_lower_layer() -> None:
    lower = tar(member("usr/share/x.yml", b"linked"))
    upper = tar(hard_link("opt/metadata/x/framework.yml", "usr/share/x.yml"), member("usr/share/.wh.x.yml"))
    # The whiteout came after the link was made: the content stays under its other name.
    assert files(lower, upper) == {X: b"linked"}
    assert files(upper) == {}


def test_a_hard_link_keeps_its_content_when_the_other_name_changes() -> None:
    lower = tar(
        member("opt/metadata/x/framework.yml", b"old"),
        hard_link("opt/metadata/y/framework.yml", "opt/metadata/x/framework.yml"),
    )
    assert files(lower, tar(member("opt/metadata/x/framework.yml", b"new"))) == {X: b"new", Y: b"old"}


def test_a_directory_of_that_name_is_no_file() -> None:
    assert files(tar(member("opt/metadata/x/framework.yml", **DIRECTORY))) == {}
    assert files(tar(member("opt/metadata/x/framework.yml/deep", b""))) == {}


def test_long_names() -> None:
    deep = "opt/metadata/" + "directory-with-a-long-name/" * 12 + "framework.yml"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert files(tar(member(deep, b"deep"), form=form)) == {f"/{deep}": b"deep"}


def test_other_paths() -> None:
    layer = tar(member("etc/os-release", b"NAME=x"), member("etc/a/b.conf", b"b"), member("etc/c.conf", b"c"))
    assert files(layer, path="/etc/os-release") == {"/etc/os-release": b"NAME=x"}
    assert files(layer, path="etc/*.conf") == {"/etc/c.conf": b"c"}
    assert files(layer, path="/**/*.conf") == {"/etc/a/b.conf": b"b", "/etc/c.conf": b"c"}


def test_a_file_too_large_to_be_a_definition_is_known_but_not_kept() -> None:
    [hit] = resolved([tar(member("opt/metadata/x/framework.yml", bytes((1 << 20) + 1)))]).hits
    assert hit.node.kind is NodeKind.FILE
    assert hit.node.content is None
    assert hit.node.problem == "has 1048577 bytes, more than the 1048576 that are read of one file"


def test_a_sparse_file_is_known_but_not_kept() -> None:
    sparse = header(b"opt/metadata/x/framework.yml", kind=b"S", magic=b"ustar  \0")
    [hit] = resolved([sparse + END]).hits
    assert (hit.node.content, hit.node.problem) == (None, "is stored as a sparse file")


def test_names_that_are_no_utf8() -> None:
    layer = file(b"opt/metadata/\xff/framework.yml", b"odd") + END
    assert files(layer) == {"/opt/metadata/\udcff/framework.yml": b"odd"}


def test_hidden_things_are_not_read() -> None:
    huge = tar(member("opt/metadata/x/framework.yml", bytes(2 << 20)))
    assert files(huge, tar(member("opt/.wh.metadata"))) == {}


def test_too_many_links_out_of_the_pattern() -> None:
    links = [link(f"opt/metadata/{number}", f"/elsewhere/{number}") for number in range(200)]
    with pytest.raises(LimitPassed, match="the image's links lead to too many places"):
        files(tar(*links))
