"""Which files of an image match a pattern, from what is known of its layers. Pure.

Symbolic links are followed inside the image's root, so that a link can lead out of what the pattern's facts
cover; `Resolution.wanted` then names the patterns whose facts are needed besides. `**` enters directories
through links too, but no directory twice, and none that holds the link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from generator.layers.facts import LayerFacts, Node, NodeKind
from generator.layers.limits import LimitPassed
from generator.layers.pattern import DEEP, Pattern, literal_name, part_matches
from generator.layers.stack import Stack, View

# Linux follows this many links before it answers ELOOP.
MAX_HOPS = 40
# Further patterns that links may add to one read; each costs another pass over the layers.
MAX_PATTERNS = 128
_MAX_STEPS = 1_000_000

Known = Mapping[Pattern, Sequence[LayerFacts | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """`path` as the pattern sees it, without a leading slash; `layer` (0 is the base) holds the content, and
    `doubt` are the unknown layers that could still hide, replace or redirect it."""

    path: str
    layer: int
    node: Node
    doubt: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """`unknown` are the layers that could still add or change anything; with none, the answer is proved.
    `blocking` are those of them that a link leads to whose end hasn't been found."""

    hits: Sequence[Hit]
    unknown: frozenset[int]
    blocking: frozenset[int]
    wanted: frozenset[Pattern]


def resolve(pattern: Pattern, known: Known) -> Resolution:
    """`known` has, for `pattern` and for others wanted so far, each layer's facts, or None where they aren't
    known; the base first. Raises LimitPassed for an image whose links go round and round."""
    return _Resolver(pattern, known).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Where a walk stands: in `view` of the facts for `region`. Before it lie `lead`, the rest of a link's
    target (plain names or `..`), then `parts` of the pattern. `shown` is the path so far as the pattern sees
    it, `link` the number of the first link that was followed (0: none), `origin` the directory of the link
    that a `**` has just followed, `anchor` that of the hard link whose other name is being looked for."""

    region: Pattern
    view: View
    lead: tuple[str, ...] = ()
    parts: tuple[str, ...]
    shown: tuple[str, ...] = ()
    hops: int = 0
    doubt: frozenset[int] = frozenset()
    link: int = 0
    origin: str | None = None
    anchor: str | None = None

    @property
    def at_end(self) -> bool:
        return not self.lead and not self.parts


class _Resolver:
    def __init__(self, pattern: Pattern, known: Known) -> None:
        self._pattern = pattern
        self._stacks = {region: Stack(layers) for region, layers in known.items()}
        self._top = len(known[pattern]) - 1
        self._now: deque[_Walk] = deque()
        self._later: deque[_Walk] = deque()  # through links of a `**`: only after what is really there
        self._entered: set[tuple[str, tuple[str, ...]]] = set()
        self._hits: dict[str, Hit] = {}
        self._unknown: set[int] = set()
        self._wanted: set[Pattern] = set()
        self._links = 0
        self._missing: dict[int, set[int]] = {}  # by link: the unknown layers it led to
        self._landed: set[int] = set()

    def run(self) -> Resolution:
        root = self._stacks[self._pattern].root(self._top)
        self._now.append(_Walk(region=self._pattern, view=root, parts=self._pattern.parts))
        steps = 0
        while self._now or self._later:
            steps += 1
            if steps > _MAX_STEPS or len(self._wanted) + len(self._stacks) > MAX_PATTERNS:
                raise LimitPassed("the image's links lead to too many places")
            self._advance(self._now.popleft() if self._now else self._later.popleft())
        blocking = [layers for link, layers in self._missing.items() if link not in self._landed]
        return Resolution(
            hits=tuple(self._hits[path] for path in sorted(self._hits)),
            unknown=frozenset(self._unknown),
            blocking=frozenset().union(*blocking),
            wanted=frozenset(self._wanted),
        )

    def _advance(self, walk: _Walk) -> None:
        if walk.lead:
            if walk.lead[0] == "..":
                self._go_up(walk)
            else:
                self._look(walk, walk.lead[0], replace(walk, lead=walk.lead[1:]))
            return
        part, rest = walk.parts[0], walk.parts[1:]
        if part == DEEP:
            self._descend(walk)
            return
        name = literal_name(part)
        names = [name] if name is not None else self._names(walk)
        for name in names:
            if part_matches(part, name):
                self._look(walk, name, replace(walk, parts=rest, shown=(*walk.shown, name)))

    def _look(self, walk: _Walk, name: str, after: _Walk) -> None:
        """`after` is the walk once `name` was passed, still in the view before it."""
        seen = self._stacks[walk.region].look(walk.view, name)
        self._note(walk, seen.past)
        after = replace(after, doubt=walk.doubt | seen.past)
        if seen.node is None:
            return
        if not seen.whole:
            self._unknown.add(seen.layer)
        if seen.node.kind is NodeKind.DIRECTORY:
            if not after.at_end:
                self._now.append(self._inside(after, name))
        elif seen.node.kind is NodeKind.SYMLINK:
            self._follow(after, seen.node.target)
        elif after.at_end and seen.node.kind is NodeKind.FILE:
            self._hit(after, seen.node, seen.layer)
        elif after.at_end and seen.node.kind is NodeKind.HARDLINK:
            self._other_name(after, seen.node, seen.layer)

    def _descend(self, walk: _Walk) -> None:
        path = walk.view.path
        if walk.origin is not None and (not path or f"{walk.origin}/".startswith(f"{path}/")):
            return
        if (path, walk.parts) in self._entered:
            return
        self._entered.add((path, walk.parts))
        walk = replace(walk, origin=None)
        self._now.append(replace(walk, parts=walk.parts[1:]))
        for name in self._names(walk):
            seen = self._stacks[walk.region].look(walk.view, name)
            self._note(walk, seen.past)
            after = replace(walk, shown=(*walk.shown, name), doubt=walk.doubt | seen.past)
            if seen.node is None:
                continue
            if seen.node.kind is NodeKind.DIRECTORY:
                self._now.append(self._inside(after, name))
            elif seen.node.kind is NodeKind.SYMLINK:
                self._follow(replace(after, origin=path), seen.node.target, later=True)

    def _inside(self, after: _Walk, name: str) -> _Walk:
        return replace(after, view=self._stacks[after.region].enter(after.view, name))

    def _names(self, walk: _Walk) -> Sequence[str]:
        names, unknown = self._stacks[walk.region].names(walk.view)
        self._note(walk, unknown)
        return names

    def _follow(self, after: _Walk, target: str, *, later: bool = False) -> None:
        """A symbolic link in the directory that `after` stands in."""
        base, top = after.view.path, after.view.top
        if after.at_end and after.anchor is not None:
            # A hard link to a symbolic link is that link, in its own directory and for every layer.
            base, top = after.anchor, self._top
            after = replace(after, anchor=None)
        names = [] if target.startswith("/") else [name for name in base.split("/") if name]
        fixed = len(names)  # before a name of the target comes, `..` needs no look
        for name in target.split("/"):
            if name == ".." and len(names) <= fixed:
                del names[-1:]
                fixed = len(names)
            elif name not in ("", "."):
                names.append(name)
        if target:
            self._restart(replace(after, lead=(*names, *after.lead)), top, later=later)

    def _go_up(self, walk: _Walk) -> None:
        names = [name for name in walk.view.path.split("/") if name]
        lead = walk.lead
        while lead and lead[0] == "..":
            del names[-1:]
            lead = lead[1:]
        self._restart(replace(walk, lead=(*names, *lead)), walk.view.top)

    def _restart(self, walk: _Walk, top: int, *, later: bool = False) -> None:
        """From the root, with the facts that show what comes next; where there are none, they are wanted."""
        link = walk.link or self._new_link()
        if walk.hops == MAX_HOPS or walk.at_end:
            return
        if ".." in walk.lead:
            needed = Pattern.of_names(walk.lead[: walk.lead.index("..")])
        else:
            needed = Pattern.of_names(walk.lead, walk.parts)
        region = self._region(needed, passing=".." in walk.lead)
        if region is None:
            self._wanted.add(needed)
            return
        view = self._stacks[region].root(top)
        queue = self._later if later else self._now
        queue.append(replace(walk, region=region, view=view, hops=walk.hops + 1, link=link))

    def _other_name(self, after: _Walk, node: Node, layer: int) -> None:
        """The file behind a hard link of `layer`: in the same tar, else what lower layers show there."""
        names = tuple(name for name in node.target.split("/") if name)
        if not names or after.hops == MAX_HOPS:
            return
        needed = Pattern.of_names(names)
        region = self._region(needed)
        if region is None:
            self._wanted.add(needed)
            return
        after = replace(after, hops=after.hops + 1, link=after.link or self._new_link())
        stack = self._stacks[region]
        facts = stack.layers[layer]
        own = facts.nodes.get(node.target) if facts is not None else None
        if own is None:
            if facts is None or not facts.whole:
                self._note(after, frozenset((layer,)))
            if facts is not None and layer > 0:
                view = stack.root(layer - 1)
                self._now.append(replace(after, region=region, view=view, lead=names, anchor=after.view.path))
        elif own.kind is NodeKind.FILE:
            self._hit(after, own, layer)
        elif own.kind is NodeKind.HARDLINK:
            self._other_name(after, own, layer)
        elif own.kind is NodeKind.SYMLINK:
            self._follow(after, own.target)

    def _region(self, needed: Pattern, *, passing: bool = False) -> Pattern | None:
        for region in self._stacks:
            if region.covers(needed) or (passing and region.on_way("/".join(needed.literal))):
                return region
        return None

    def _hit(self, walk: _Walk, node: Node, layer: int) -> None:
        path = "/".join(walk.shown)
        self._hits.setdefault(path, Hit(path=path, layer=layer, node=node, doubt=walk.doubt))
        self._landed.add(walk.link)

    def _note(self, walk: _Walk, layers: frozenset[int]) -> None:
        self._unknown |= layers
        if walk.link:
            self._missing.setdefault(walk.link, set()).update(layers)

    def _new_link(self) -> int:
        self._links += 1
        return self._links
