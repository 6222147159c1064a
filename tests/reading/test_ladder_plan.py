"""The plan and the hints by themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from generator.ladder.hints import hinted
from generator.ladder.plan import SMALL, TINY, LayerInfo, next_step
from generator.layers.facts import Node, NodeKind
from generator.layers.overlay import Hit, Resolution
from generator.layers.pattern import Pattern

PATTERN = Pattern.parse("/opt/metadata/**/framework.yml")
BIG = LayerInfo(size=SMALL + 1, toc=False)
LITTLE = LayerInfo(size=SMALL, toc=False)
DUST = LayerInfo(size=TINY, toc=False)
SEEKABLE = LayerInfo(size=1 << 30, toc=True)


def config(*steps: dict[str, object]) -> bytes:
    return json.dumps({"history": steps}).encode()


def test_instructions_that_make_no_layer_are_passed_over() -> None:
    data = config(
        {"created_by": "ENV A=/opt/metadata", "empty_layer": True},
        {"created_by": "RUN make"},
        {"created_by": "WORKDIR /", "empty_layer": True},
        {"created_by": "COPY meta /opt/metadata"},
        {"created_by": "RUN find / -name framework.yml"},
        {},
    )
    assert hinted(data, 4, PATTERN) == {1, 2}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"history": null}',
        b'{"history": [1]}',
        b"[" * 100_000,
        config({"created_by": "COPY . /opt/metadata"}),
    ],
)
def test_a_history_that_says_nothing_sure(data: bytes) -> None:
    assert hinted(data, 2, PATTERN) == frozenset()


@pytest.mark.parametrize(
    ("pattern", "instruction", "hints"),
    [
        ("/opt/*/x.yml", "RUN ls /opt", False),
        ("/opt/*/x.yml", "COPY x.yml /opt/a/", True),
        ("/etc/a/b/*", "COPY b /etc/a/b", True),
        ("/etc/a/b/*", "COPY b /etc/a", False),
        ("/etc/os-release", "RUN apt-get update", False),
        ("/etc/os-release", "COPY os-release /etc/", True),
    ],
)
def test_what_hints_at_other_patterns(pattern: str, instruction: str, hints: bool) -> None:
    assert bool(hinted(config({"created_by": instruction}), 1, Pattern.parse(pattern))) is hints


def found(unknown: Sequence[int], *doubts: Sequence[int], blocking: Sequence[int] = ()) -> Resolution:
    return Resolution(
        hits=[
            Hit(path=f"{number}", layer=0, node=Node(NodeKind.FILE, content=b""), doubt=frozenset(doubt))
            for number, doubt in enumerate(doubts)
        ],
        unknown=frozenset(unknown),
        blocking=frozenset(blocking),
        wanted=frozenset(),
    )


def planned(
    resolution: Resolution,
    layers: Sequence[LayerInfo],
    *,
    hints: Sequence[int] | None = (),
    left_out: Sequence[int] = (),
    complete: bool = False,
) -> list[int] | None:
    def ask() -> frozenset[int]:
        assert hints is not None, "nobody needed to ask"
        return frozenset(hints)

    step = next_step(resolution, layers, left_out=frozenset(left_out), hints=ask, complete=complete)
    return None if step is None else list(step.layers)


def test_tiny_layers_come_first_and_need_no_hints() -> None:
    assert planned(found([0, 1, 2, 3]), [BIG, DUST, LITTLE, DUST], hints=None) == [3, 1]


def test_small_seekable_and_hinted_layers_come_together() -> None:
    layers = [BIG, LITTLE, BIG, SEEKABLE]
    assert planned(found([0, 1, 2, 3]), layers, hints=[2]) == [3, 2, 1]
    assert planned(found([1, 3]), layers, hints=None) == [3, 1]


def test_what_stands_above_a_file_is_read() -> None:
    assert planned(found([0, 1, 2, 3], [3], [2, 3]), [BIG] * 4) == [3, 2]


def test_links_are_followed_from_the_top_one_layer_at_a_time() -> None:
    assert planned(found([0, 1, 2], [], blocking=[0, 1]), [BIG] * 3) == [1]


def test_once_something_is_found_the_rest_is_left() -> None:
    assert planned(found([0, 1], []), [BIG] * 3) is None


def test_while_nothing_is_found_everything_is_read_from_the_top() -> None:
    assert planned(found([0, 1, 2]), [BIG] * 3) == [2]
    assert planned(found([0, 1]), [BIG] * 3) == [1]


def test_complete_asks_for_nothing_but_layers() -> None:
    assert planned(found([0, 1, 2], []), [BIG, DUST, BIG], complete=True, hints=None) == [2, 1, 0]


def test_layers_that_can_not_be_read_are_left_out() -> None:
    assert planned(found([0, 1]), [BIG, BIG], left_out=[1]) == [0]
    assert planned(found([0, 1]), [BIG, BIG], left_out=[0, 1]) is None
    assert planned(found([0, 1]), [DUST, BIG], left_out=[0, 1], complete=True) is None
