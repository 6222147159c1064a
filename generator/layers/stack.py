"""An image's layers on top of each other, as far as one pattern's facts show them. Pure.

A layer whose facts aren't there yet counts as one that says nothing, and every look past it is noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator.layers.facts import LayerFacts, Node, NodeKind


@dataclass(frozen=True, slots=True)
class View:
    """A directory as it appears from layer `top` (0 is the base) downwards. Layers below `floor` don't show
    in it: one above them made it opaque, replaced or deleted it."""

    path: str
    floor: int
    top: int

    def child(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found, in which layer, whether all of that layer is known, and the unknown layers that it
    looked past."""

    node: Node | None
    layer: int
    whole: bool
    past: frozenset[int]


class Stack:
    def __init__(self, layers: Sequence[LayerFacts | None]) -> None:
        self.layers = layers
        self._below: dict[int, Mapping[str, Sequence[str]]] = {}

    def root(self, top: int) -> View:
        return View("", self._floor("", top, 0), top)

    def look(self, view: View, name: str) -> Seen:
        path = view.child(name)
        past: set[int] = set()
        for number in range(view.top, view.floor - 1, -1):
            facts = self.layers[number]
            if facts is None:
                past.add(number)
                continue
            node = facts.nodes.get(path)
            if node is not None:
                return Seen(node, number, facts.whole, frozenset(past))
            if not facts.whole:
                past.add(number)
            if path in facts.whiteouts:
                break
        return Seen(None, -1, True, frozenset(past))

    def enter(self, view: View, name: str) -> View:
        """The directory that `look` found there."""
        path = view.child(name)
        return View(path, self._floor(path, view.top, view.floor), view.top)

    def names(self, view: View) -> tuple[Sequence[str], frozenset[int]]:
        """Names that may be in the directory (a `look` decides), and the layers that may add to them."""
        names: set[str] = set()
        unknown: set[int] = set()
        for number in range(view.floor, view.top + 1):
            facts = self.layers[number]
            if facts is None or not facts.whole:
                unknown.add(number)
            if facts is not None:
                names.update(self._index(number, facts).get(view.path, ()))
        return sorted(names), frozenset(unknown)

    def _floor(self, path: str, top: int, bottom: int) -> int:
        for number in range(top, bottom - 1, -1):
            facts = self.layers[number]
            if facts is None:
                continue
            node = facts.nodes.get(path)
            if node is not None and node.kind is not NodeKind.DIRECTORY:
                return number + 1
            if path in facts.opaque or path in facts.whiteouts:
                return number
        return bottom

    def _index(self, number: int, facts: LayerFacts) -> Mapping[str, Sequence[str]]:
        index = self._below.get(number)
        if index is None:
            found: dict[str, list[str]] = {}
            for path in facts.nodes:
                directory, _, name = path.rpartition("/")
                found.setdefault(directory, []).append(name)
            index = self._below[number] = found
        return index
