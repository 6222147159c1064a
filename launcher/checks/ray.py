"""Whether a Ray cluster answers, lets us in and has what jobs will ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError
from launcher import preflight
from launcher.backends import ray as backend
from launcher.checks.answers import Check, Subject, fail, failed, folder, ok, warn

# The oldest version that the backend is made for, and the first that knows label selectors.
OLDEST, LABELS = (2, 40), (2, 54)


def checks(subject: Subject) -> Iterator[Check]:
    settings = subject.settings
    url = settings.get("dashboard_url")
    if not url:
        yield fail("dashboard", "no address is known", "set execution.dashboard_url (http://HEAD:8265)")
        return
    try:
        cluster = backend._cluster(settings)
        version = cluster.version()
        nodes = [
            preflight.Node(n.get("labels") or {}, n.get("resources_total") or {}) for n in cluster.nodes()
        ]
    except EvaldockError as error:
        yield failed("dashboard", error)
        return
    yield _version(str(url), version, settings)
    total = {name: sum(float(node.resources.get(name, 0)) for node in nodes) for name in ("CPU", "GPU")}
    yield ok("nodes", f"{len(nodes)}, with {total['CPU']:g} CPUs and {total['GPU']:g} GPUs")
    selectors = [settings["entrypoint_label_selector"]] if settings.get("entrypoint_label_selector") else []
    selectors += (settings.get("image_label_selectors") or {}).values()
    problems, warnings = preflight.look(nodes, settings.get("preflight") or {}, selectors)
    for problem in problems:
        yield fail("cluster", problem, "start such a node, or ask for less")
    for warning in warnings:
        yield warn("cluster", warning, "jobs that ask for it wait until there is one")
    gpus = subject.execution.get("gpus")
    if isinstance(gpus, int) and gpus > max((node.resources.get("GPU", 0) for node in nodes), default=0):
        yield fail("gpus", f"no node has the {gpus} GPUs of a job", "start such a node, or ask for less")
    yield _storage(settings)


def _version(url: str, version: str, settings: Mapping[str, Any]) -> Check:
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    said = f"Ray {version} at {url}"
    if number < OLDEST:
        return warn("dashboard", f"{said} is older than what evaldock is tried with", "Ray 2.40 or newer")
    if number < LABELS and (
        settings.get("entrypoint_label_selector") or settings.get("image_label_selectors")
    ):
        return fail("dashboard", f"{said} knows no labels for jobs", "Ray 2.54 or newer, or no labels")
    return ok("dashboard", said)


def _storage(settings: Mapping[str, Any]) -> Check:
    shared = settings.get("shared_dir")
    if not shared:
        limit = settings.get("results_limit", 0) >> 20
        return ok("results", f"through jobs' logs, at most {limit} MiB packed")
    here = Path(settings.get("shared_dir_here") or shared)
    return folder("shared_dir", here, "mount it here, say where it is with shared_dir_here, or leave it out")
