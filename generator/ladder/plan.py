"""Which layers to read next. Pure: the costs and the manners of reading are decided here and nowhere else.

A default read goes up these steps and stops as soon as it may: tiny layers, whatever they are; then small
ones, those with a table of contents and those that the history hints at, all at once; then what stands above
a file already found, or at the end of a link; then, only while nothing was found, everything else from the
top. So an image whose file lies in a large layer that nothing hints at is still read until it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from generator.layers.overlay import Resolution

TINY = 64 << 10
WHOLE = 1 << 20  # up to here a layer is read and verified whole, whatever is looked for
AT_ONCE = 4 << 20  # up to here in one request, where the whole layer is wanted anyway
SMALL = 8 << 20
# Asking for a sidecar costs a request or two, and pays only if it saves more than this.
SIDECAR_PAYS = 1 << 20
# A table of contents has about a hundredth of its layer's size; twice that allows for the files.
_TOC_SHARE = 50


class Rung(IntEnum):
    """How a layer's facts were had, the cheapest first."""

    CACHE = 0
    TOC = 1
    LAYERS = 2
    SCAN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """`size` as stored, in bytes; `toc`: it announces a table of contents that may be used."""

    size: int
    toc: bool

    @property
    def cost(self) -> int:
        return self.size // _TOC_SHARE if self.toc and self.size > WHOLE else self.size

    @property
    def small(self) -> bool:
        return self.size <= SMALL or self.toc


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`layers` to be read, the top one first; `cost` is roughly the bytes of this and what may follow."""

    layers: Sequence[int]
    cost: int


def next_step(
    found: Resolution,
    layers: Sequence[LayerInfo],
    *,
    left_out: frozenset[int],
    hints: Callable[[], frozenset[int]],
    complete: bool,
) -> Step | None:
    """None: stop. `left_out` are layers that can't be read any further; `hints` costs a request."""
    open_ = found.unknown - left_out
    if complete or not open_:
        return _step(open_, open_, layers)
    tiny = {number for number in open_ if layers[number].size <= TINY}
    if tiny:
        return _step(tiny, tiny, layers)
    likely = {number for number in open_ if layers[number].small}
    if likely != open_:
        likely |= open_ & hints()
    if likely:
        return _step(likely, likely, layers)
    above = frozenset().union(*(hit.doubt for hit in found.hits)) & open_
    if above:
        return _step(above, above, layers)
    blocking = found.blocking & open_
    if blocking:
        return _step({max(blocking)}, blocking, layers)
    if found.hits:
        return None
    return _step({max(open_)}, open_, layers)


def _step(
    numbers: set[int] | frozenset[int], ahead: set[int] | frozenset[int], layers: Sequence[LayerInfo]
) -> Step | None:
    if not numbers:
        return None
    return Step(layers=sorted(numbers, reverse=True), cost=sum(layers[number].cost for number in ahead))
