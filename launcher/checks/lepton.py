"""Whether a workspace of Lepton lets us in and has what the configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError
from catalog.nearest import did_you_mean
from launcher.backends import lepton_api
from launcher.backends.lepton_api import Lepton
from launcher.checks.answers import Check, Subject, fail, failed, folder, ok, warn


def checks(subject: Subject) -> Iterator[Check]:
    settings = subject.settings
    try:
        with lepton_api.connected(settings) as lepton:
            yield _workspace(lepton)
            yield from _placed(lepton, settings)
            yield from _secrets(lepton, subject.secrets)
    except EvaldockError as error:
        yield failed("workspace", error)
    seen = settings.get("output_dir_here")
    if seen:
        yield folder("output_dir_here", Path(seen), "mount the volume there, or leave output_dir_here out")
    elif settings.get("volumes"):
        yield ok(
            "results", f"through jobs' logs, at most {settings.get('results_limit', 0) >> 20} MiB packed"
        )
    else:
        yield warn(
            "results",
            "jobs have no storage that outlives them: a second attempt starts from nothing",
            "mount a volume (execution.mounts) and set output_dir to a folder on it",
        )


def _workspace(lepton: Lepton) -> Check:
    found = lepton.workspace()
    said = f"{found['workspace_name']} lets us in"
    if found["workspace_state"] != "normal":
        return fail("workspace", f"{said}, and is {found['workspace_state']}", "see its dashboard")
    return ok("workspace", said)


def _placed(lepton: Lepton, settings: Mapping[str, Any]) -> Iterator[Check]:
    groups = sorted(lepton.node_groups())
    wanted = list(settings.get("node_group", ()))
    for name in wanted:
        yield _one_of("node group", name, groups, "execution.node_group")
    shapes = lepton.shapes(wanted[0] if wanted and wanted[0] in groups else None)
    serving = settings.get("endpoint") or {}
    for place, shape in (
        ("execution.resource_shape", settings.get("resource_shape")),
        ("execution.endpoint.resource_shape", serving.get("resource_shape")),
    ):
        if shape:
            yield _one_of("resource shape", shape, shapes, place)


def _one_of(what: str, name: str, known: Sequence[str], place: str) -> Check:
    if name in known:
        return ok(what, name)
    there = ", ".join(known) or "none"
    return fail(what, f"there is no {name!r}{did_you_mean(name, known)}", f"{place}: there are {there}")


def _secrets(lepton: Lepton, wanted: Mapping[str, str]) -> Iterator[Check]:
    known = lepton.secrets() if wanted else set()
    for name in sorted(wanted):
        if name in known:
            yield ok("secret", f"the workspace has {name}")
        else:
            yield fail("secret", f"the workspace has no {name}", f"lep secret create -n {name} -v …")
