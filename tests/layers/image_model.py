"""A plain model of what container engines make of layers: trees, nothing incremental, nothing cached.

Directories are dicts, files bytes, symbolic links `Link`, everything else `OTHER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from generator.layers.member import Kind, Member
from generator.layers.pattern import part_matches

Tree = dict[str, Any]
OTHER = object()


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Entry:
    """A member with its content."""

    member: Member
    content: bytes = b""


def split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def unpack(layers: Sequence[Sequence[Entry]]) -> Tree:
    """The root directory of an image with these layers, the base first."""
    image: Tree = {}
    for layer in layers:
        own, hidden, opaque = own_tree(layer, image)
        for path in opaque:
            found = lexical(image, path)
            if isinstance(found, dict):
                found.clear()
        for path in hidden:
            parent = lexical(image, path[:-1])
            if isinstance(parent, dict):
                parent.pop(path[-1], None)
        merge(image, own)
    return image


def own_tree(layer: Sequence[Entry], lower: Tree) -> tuple[Tree, list[list[str]], list[list[str]]]:
    own: Tree = {}
    hidden: list[list[str]] = []
    opaque: list[list[str]] = []
    for entry in layer:
        parts = split(entry.member.path)
        directory = make_directories(own, parts[:-1])
        if parts[-1] == ".wh..wh..opq":
            opaque.append(parts[:-1])
        elif parts[-1].startswith(".wh."):
            hidden.append([*parts[:-1], parts[-1].removeprefix(".wh.")])
        elif entry.member.kind is Kind.DIRECTORY:
            if not isinstance(directory.get(parts[-1]), dict):
                directory[parts[-1]] = {}
        else:
            directory[parts[-1]] = value_of(entry, own, lower)
    return own, hidden, opaque


def value_of(entry: Entry, own: Tree, lower: Tree) -> object:
    member = entry.member
    if member.kind is Kind.FILE:
        return entry.content
    if member.kind is Kind.SYMLINK:
        return Link(member.target)
    if member.kind is Kind.HARDLINK:
        linked = lexical(own, split(member.target))
        if linked is None:
            linked = real(lower, split(member.target), follow_last=False)[0]
        return linked if isinstance(linked, bytes | Link) else OTHER
    return OTHER


def make_directories(root: Tree, parts: Sequence[str]) -> Tree:
    for part in parts:
        if not isinstance(root.get(part), dict):
            root[part] = {}
        root = root[part]
    return root


def merge(lower: Tree, upper: Tree) -> None:
    for name, value in upper.items():
        if isinstance(value, dict) and isinstance(lower.get(name), dict):
            merge(lower[name], value)
        else:
            lower[name] = value if not isinstance(value, dict) else copied(value)


def copied(tree: Tree) -> Tree:
    return {name: copied(value) if isinstance(value, dict) else value for name, value in tree.items()}


def lexical(root: object, parts: Sequence[str]) -> object:
    for part in parts:
        if not isinstance(root, dict):
            return None
        root = root.get(part)
    return root


def real(root: Tree, parts: Sequence[str], *, follow_last: bool = True) -> tuple[object, tuple[str, ...]]:
    """What is at a path, links followed inside the root as chroot would, and its path without links."""
    waiting = list(parts)
    at: list[str] = []
    hops = 0
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            del at[-1:]
            continue
        parent = lexical(root, at)
        value = parent.get(part) if isinstance(parent, dict) else None
        if isinstance(value, Link) and (waiting or follow_last):
            hops += 1
            if hops > 40 or not value.target:
                return None, ()
            if value.target.startswith("/"):
                at = []
            waiting = [p for p in value.target.split("/") if p not in ("", ".")] + waiting
            continue
        if value is None or (waiting and not isinstance(value, dict)):
            return None, ()
        at.append(part)
    return lexical(root, at), tuple(at)


def find(root: Tree, parts: Sequence[str]) -> dict[tuple[str, ...], bytes]:
    """Files that match, by path without links. `**` enters no directory twice, none above the link's own."""
    found: dict[tuple[str, ...], bytes] = {}
    entered: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()

    def walk(at: tuple[str, ...], rest: tuple[str, ...]) -> None:
        directory = lexical(root, at)
        if not isinstance(directory, dict):
            return
        if rest[0] == "**":
            if (at, rest) in entered:
                return
            entered.add((at, rest))
            walk(at, rest[1:])
            for name, value in directory.items():
                there = real(root, [*at, name])[1]
                if isinstance(value, dict) or (isinstance(value, Link) and there != at[: len(there)]):
                    walk(there, rest) if there else None
            return
        for name in directory:
            if not part_matches(rest[0], name):
                continue
            value, there = real(root, [*at, name])
            if isinstance(value, bytes) and not rest[1:]:
                found[there] = value
            elif isinstance(value, dict) and rest[1:]:
                walk(there, rest[1:])

    walk((), tuple(parts))
    return found
