"""What is looked at before a run starts on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused, Unreachable
from launcher.jobs import RunPlan
from launcher.preflight import Node, check, look
from planned_runs import plan
from services.ray_head import CPUS, RayHead

NODES = (
    Node({"zone": "a", "gpu": "h100"}, {"CPU": 8.0, "GPU": 4.0, "memory": 64.0 * 2**30}),
    Node({"zone": "b"}, {"CPU": 8.0, "memory": 64.0 * 2**30}),
)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"cpu": 17}, "preflight.min_cluster_resources.cpu: 17 wanted, the cluster has 16"),
        ({"gpu": 8}, "preflight.min_cluster_resources.gpu: 8 wanted, the cluster has 4"),
        (
            {"memory": 2**40},
            "preflight.min_cluster_resources.memory: 1.09951e+12 bytes wanted, the cluster has 1.37439e+11",
        ),
    ],
)
def test_a_cluster_that_is_too_small(wanted: Mapping[str, Any], problem: str) -> None:
    assert look(NODES, {"min_cluster_resources": wanted}, []) == ([problem], [])
    assert look(NODES, {"min_cluster_resources": {"cpu": 16, "gpu": 4, "memory": 2**37}}, []) == ([], [])


def test_labels_that_no_node_has() -> None:
    wanted = {"required_node_labels": {"zone": "c", "gpu": ["a100", "h100"]}}
    line = "preflight.required_node_labels: no node has zone=c; there are zone=a, zone=b"
    assert look(NODES, wanted, []) == ([], [line])
    assert look(NODES, {**wanted, "strict_label_check": True}, []) == ([line], [])


def test_selectors_that_no_node_fits() -> None:
    selectors = [{"zone": "b"}, {"zone": "b", "gpu": "h100"}, {"zone": "!c"}, {"zone": "in(a,c)"}, {}]
    line = "entrypoint_label_selector: no node has zone=b, gpu=h100; there are gpu=h100, zone=a, zone=b"
    assert look(NODES, {}, selectors) == ([], [line])
    assert look(NODES, {"strict_label_check": True}, selectors) == ([line], [])


def test_a_cluster_without_nodes() -> None:
    assert look([], {}, []) == (["preflight: the cluster has no node that is alive"], [])


def planned(url: str, preflight: Mapping[str, Any], **execution: Any) -> RunPlan:
    backend = {"name": "ray", "dashboard_url": url, **execution}
    return plan({"backend": backend, "preflight": preflight, "evaluation": {"tasks": ["quickcheck.chat"]}})


def test_a_real_cluster_is_looked_at(ray_head: RayHead) -> None:
    fits = {"min_cluster_resources": {"cpu": CPUS, "memory": "64m"}, "required_node_labels": {"zone": "here"}}
    assert check(planned(ray_head.url, fits, entrypoint_label_selector={"zone": "here"})) == []
    with pytest.raises(Refused) as caught:
        check(
            planned(
                ray_head.url,
                {"min_cluster_resources": {"gpu": 8}, "strict_label_check": True},
                entrypoint_label_selector={"zone": "there"},
            )
        )
    assert str(caught.value) == (
        "the cluster is not what this run needs:\n"
        "  - preflight.min_cluster_resources.gpu: 8 wanted, the cluster has 0\n"
        "  - entrypoint_label_selector: no node has zone=there; there are zone=here"
    )


def test_a_cluster_that_does_not_answer() -> None:
    with pytest.raises(Unreachable):
        check(planned("http://127.0.0.1:9", {"enabled": True}))
    (warning,) = check(planned("http://127.0.0.1:9", {"require_ray_endpoint": False}))
    assert warning.startswith("preflight: Ray at http://127.0.0.1:9 does not answer")


def test_what_is_switched_off_or_absent_asks_nobody(tmp_path: Path) -> None:
    assert check(planned("http://127.0.0.1:9", {"enabled": False})) == []
    assert check(plan({"execution": {"type": "process"}, "evaluation": {"tasks": ["quickcheck.chat"]}})) == []
