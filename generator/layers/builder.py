"""From a layer's members, in the order of the tar, to its facts. Pure.

Within a layer the last member of a name wins, and a member makes each of its parents a directory, whatever a
lower layer or an earlier member had there: that is what an overlay file system shows, whose layers are
unpacked apart from each other.
"""

from __future__ import annotations

from generator.layers.facts import BLOCK, DIRECTORY, Checked, LayerFacts, Node, NodeKind
from generator.layers.limits import DEFAULT, LimitPassed, Limits
from generator.layers.member import Kind, Member
from generator.layers.pattern import Pattern

# OCI image-spec layer.md, "Whiteouts": the prefix before the name of what is deleted, and the name by which a
# directory hides everything that lower layers have in it.
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."  # bookkeeping of a file system that came before it


class FactsBuilder:
    """`version` grows whenever `exact` or `prefixes`, the sieve of what this builder must see, change."""

    def __init__(self, pattern: Pattern, limits: Limits = DEFAULT) -> None:
        self.pattern = pattern
        self._limits = limits
        self._nodes: dict[str, Node] = {}
        self._below: dict[str, set[str]] = {}  # paths right below a directory
        self._whiteouts: set[str] = set()
        self._opaque: set[str] = set()
        self._leaf = "/".join(pattern.literal) if pattern.exact else None
        self._way = _parents(pattern)
        self._implied = ""  # the parent whose directories were implied last
        self.version = 0
        self.exact = _exact(pattern)

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        if not self.pattern.literal:
            return (b"",)
        bottom = _bytes("/".join(self.pattern.literal) + "/")
        whiteouts = (_bytes(f"{way}/{_WHITEOUT}" if way else _WHITEOUT) for way in ("", *self._way))
        # Until a parent is known to be a directory here, whatever lies below it says so.
        pending = (_bytes(f"{way}/") for way in self._way if self._nodes.get(way) is not DIRECTORY)
        return (bottom, *whiteouts, *pending)

    @property
    def settled(self) -> bool:
        """Whether the one file of an exact pattern was seen. A later member could still replace it."""
        node = self._nodes.get(self._leaf) if self._leaf is not None else None
        return node is not None and node is not DIRECTORY

    def add(self, member: Member) -> bool:
        """Whether the member's content is wanted: `content` or `problem` must follow."""
        directory, _, base = member.path.rpartition("/")
        if base.startswith(_WHITEOUT):
            self._hide(directory, base)
            return False
        if not member.path:
            return False
        self._imply(directory)
        if not self._concerns(member.path):
            return False
        matches = self.pattern.matches(member.path)
        if member.kind is Kind.DIRECTORY:
            self._set(member.path, DIRECTORY)
            return False
        self._set(member.path, self._node(member, matches))
        return matches and member.kind is Kind.FILE

    def content(self, path: str, data: bytes) -> None:
        self._nodes[path] = Node(NodeKind.FILE, content=data)

    def problem(self, path: str, problem: str) -> None:
        self._nodes[path] = Node(NodeKind.FILE, problem=problem)

    def facts(self, *, whole: bool, checked: Checked) -> LayerFacts:
        return LayerFacts(
            pattern=self.pattern.text,
            nodes=self._nodes,
            whiteouts=frozenset(self._whiteouts),
            opaque=frozenset(self._opaque),
            whole=whole,
            checked=checked,
        )

    def _node(self, member: Member, matches: bool) -> Node:
        if member.kind is Kind.SYMLINK:
            return Node(NodeKind.SYMLINK, target=member.target)
        if member.kind is Kind.HARDLINK:
            linked = self._nodes.get(member.target)
            if linked is not None and linked.kind in (NodeKind.FILE, NodeKind.SYMLINK):
                return linked
            return Node(NodeKind.HARDLINK, target=member.target) if matches else BLOCK
        return Node(NodeKind.FILE) if matches and member.kind is Kind.FILE else BLOCK

    def _hide(self, directory: str, base: str) -> None:
        if base == _OPAQUE:
            self._imply(directory)
            if self._concerns(directory):
                self._opaque.add(directory)
            return
        name = base.removeprefix(_WHITEOUT)
        if base.startswith(_AUFS) or name in ("", ".", ".."):
            return
        self._imply(directory)
        hidden = f"{directory}/{name}" if directory else name
        if self._concerns(hidden):
            self._whiteouts.add(hidden)

    def _concerns(self, path: str) -> bool:
        return self.pattern.on_way(path) or self.pattern.matches(path)

    def _imply(self, directory: str) -> None:
        if directory == self._implied:
            return
        end = 0
        while end >= 0 and directory:
            end = directory.find("/", end + 1)
            parent = directory[:end] if end >= 0 else directory
            if not self._concerns(parent):
                break
            self._set(parent, DIRECTORY)
        self._implied = directory

    def _set(self, path: str, node: Node) -> None:
        before = self._nodes.get(path)
        if node is DIRECTORY and before is DIRECTORY:
            return
        if before is DIRECTORY:
            self._forget_below(path)
            self._implied = ""
        self._nodes[path] = node
        if before is None:
            self._below.setdefault(path.rpartition("/")[0], set()).add(path)
        if path in self._way:
            self.version += 1
        if len(self._nodes) > self._limits.nodes:
            raise LimitPassed(f"more than {self._limits.nodes} paths of the layer match {self.pattern.text}")

    def _forget_below(self, path: str) -> None:
        waiting = [path]
        while waiting:
            for child in self._below.pop(waiting.pop(), ()):
                del self._nodes[child]
                waiting.append(child)


def _parents(pattern: Pattern) -> tuple[str, ...]:
    """The directories named by the pattern itself, from the top."""
    names = pattern.literal[:-1] if pattern.exact else pattern.literal
    return tuple("/".join(names[: count + 1]) for count in range(len(names)))


def _exact(pattern: Pattern) -> frozenset[bytes]:
    paths = (*_parents(pattern), "/".join(pattern.literal))
    return frozenset(_bytes(path + end) for path in paths if path for end in ("", "/"))


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
