"""What one layer says about the paths that a pattern cares for: all that resolving an image's layers needs.

Pure data, kept as JSON by blob digest, so that a layer is never read twice for the same question.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Of what is derived from a layer, and its JSON form: a change of either must change it.
SCANNER_VERSION = 1


class NodeKind(StrEnum):
    DIRECTORY = "directory"  # listed, or implied by something below it
    FILE = "file"  # matches the pattern
    SYMLINK = "symlink"
    HARDLINK = "hardlink"  # matches the pattern; what it is linked to wasn't kept
    BLOCK = "block"  # anything else that is no directory: it hides what lies below its path


@dataclass(frozen=True, slots=True)
class Node:
    """`target` as in `Member`. `content` is None where it can't be had; `problem` then says why."""

    kind: NodeKind
    target: str = ""
    content: bytes | None = None
    problem: str = ""


DIRECTORY = Node(NodeKind.DIRECTORY)
BLOCK = Node(NodeKind.BLOCK)


class Checked(StrEnum):
    """How the facts were checked."""

    DIGEST = "digest"  # the whole blob against its digest
    TOC = "toc"  # a table of contents that the manifest vouches for
    NOT = "partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """Paths without a leading slash; the root is ''. Whiteouts and opaque directories hide lower layers only.
    Without `whole`, `nodes` hold, but what they don't name may still be in the layer."""

    pattern: str
    nodes: Mapping[str, Node]
    whiteouts: frozenset[str]
    opaque: frozenset[str]
    whole: bool
    checked: Checked

    def to_json(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "nodes": {path: _node_to_json(node) for path, node in self.nodes.items()},
            "whiteouts": sorted(self.whiteouts),
            "opaque": sorted(self.opaque),
            "whole": self.whole,
            "checked": self.checked,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerFacts:
        """Raises KeyError, TypeError or ValueError for anything but what `to_json` gave."""
        return cls(
            pattern=value["pattern"],
            nodes={path: _node_from_json(node) for path, node in value["nodes"].items()},
            whiteouts=frozenset(value["whiteouts"]),
            opaque=frozenset(value["opaque"]),
            whole=value["whole"],
            checked=Checked(value["checked"]),
        )


def _node_to_json(node: Node) -> dict[str, str] | str:
    if node in (DIRECTORY, BLOCK):
        return node.kind.value
    value = {"kind": node.kind.value}
    if node.target:
        value["target"] = node.target
    if node.problem:
        value["problem"] = node.problem
    if node.content is not None:
        value["content"] = b64encode(node.content).decode()
        value["sha256"] = hashlib.sha256(node.content).hexdigest()
    return value


def _node_from_json(value: Mapping[str, str] | str) -> Node:
    if isinstance(value, str):
        return DIRECTORY if NodeKind(value) is NodeKind.DIRECTORY else BLOCK
    content = None
    if "content" in value:
        content = b64decode(value["content"], validate=True)
        if hashlib.sha256(content).hexdigest() != value["sha256"]:
            raise ValueError("a cached file that isn't what its sha256 says")
    return Node(NodeKind(value["kind"]), value.get("target", ""), content, value.get("problem", ""))
