"""What backends are called in configurations beside their own names."""

from __future__ import annotations

import re

# What is the Ray backend, and what chooses none.
RAY = frozenset({"ray", "kubernetes-ray", "ray-kubernetes"})
NO_CHOICE = frozenset({"default", "none"})
_SPACES = re.compile(r"[\s_-]+")


def plain_name(name: object) -> str:
    """`" Kubernetes_Ray "` as `kubernetes-ray`."""
    return _SPACES.sub("-", str(name).strip().lower())
