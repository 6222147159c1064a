"""A look at a cluster before a run starts on it: once per run, and never in a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import EvaldockError, Refused
from launcher.jobs import RunPlan

_UNITS = (("cpu", "CPU", ""), ("gpu", "GPU", ""), ("memory", "memory", " bytes"))


@dataclass(frozen=True, slots=True)
class Node:
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)


def check(plan: RunPlan) -> list[str]:
    """Lines that the run's owner should know. Raises Refused or Unreachable where the run shouldn't start.

    Only Ray clusters are looked at so far; other backends' plans have no such settings."""
    wanted = plan.settings.get("preflight")
    if not wanted or not wanted.get("enabled", True):
        return []
    from launcher.backends import ray  # noqa: PLC0415 # only for runs on Ray

    try:
        nodes = [Node(n.get("labels") or {}, n.get("resources_total") or {}) for n in ray.nodes(plan)]
    except EvaldockError as error:
        if wanted.get("require_ray_endpoint", True):
            raise
        return [f"preflight: {error.message}"]
    problems, warnings = look(nodes, wanted, ray.selectors(plan))
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise Refused(f"the cluster is not what this run needs:{listed}")
    return warnings


def look(
    nodes: Sequence[Node], wanted: Mapping[str, Any], selectors: Sequence[Mapping[str, str]]
) -> tuple[list[str], list[str]]:
    """What is wrong with the nodes, and what is only odd. `selectors` are those of the run's jobs."""
    problems = _too_small(nodes, wanted.get("min_cluster_resources") or {})
    if not nodes:
        problems.append("preflight: the cluster has no node that is alive")
    labels = []
    for name, values in (wanted.get("required_node_labels") or {}).items():
        accepted = [values] if isinstance(values, str) else list(values)
        if not any(node.labels.get(name) in accepted for node in nodes):
            asked = f"{name}={' or '.join(accepted)}"
            labels.append(f"preflight.required_node_labels: no node has {asked}{_there(nodes, name)}")
    for selector in {tuple(sorted(each.items())): each for each in selectors}.values():
        # Operators of Ray's (`in(a,b)`, `!x`) are its own to judge.
        plain = {name: value for name, value in selector.items() if not value.startswith(("!", "in("))}
        if plain and not any(plain.items() <= dict(node.labels).items() for node in nodes):
            asked = ", ".join(f"{name}={value}" for name, value in plain.items())
            labels.append(f"entrypoint_label_selector: no node has {asked}{_there(nodes, *plain)}")
    strict = bool(wanted.get("strict_label_check"))
    return (problems + labels, []) if strict else (problems, labels)


def _too_small(nodes: Sequence[Node], least: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, resource, unit in _UNITS:
        if least.get(name) is None:
            continue
        there = sum(float(node.resources.get(resource, 0)) for node in nodes)
        if there < float(least[name]):
            problems.append(
                f"preflight.min_cluster_resources.{name}: {float(least[name]):g}{unit} wanted, "
                f"the cluster has {there:g}"
            )
    return problems


def _there(nodes: Sequence[Node], *names: str) -> str:
    known = sorted({f"{name}={node.labels[name]}" for node in nodes for name in names if name in node.labels})
    return f"; there are {', '.join(known)}" if known else ""
