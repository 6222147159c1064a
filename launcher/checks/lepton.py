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
            yield from _placed(lepton, subject)
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


def _placed(lepton: Lepton, subject: Subject) -> Iterator[Check]:
    settings, serving = subject.settings, subject.settings.get("endpoint") or {}
    known = lepton.node_groups()
    groups, own = _names(settings.get("node_group")), _names(serving.get("node_group"))
    for place, names in (("execution.node_group", groups), ("execution.endpoint.node_group", own)):
        for name in names:
            yield _one_of("node group", name, sorted(known), place)
    shape = settings.get("resource_shape")
    if shape:
        shapes = lepton.shapes({name: known[name] for name in groups if name in known}, "job")
        yield _one_of("resource shape", shape, shapes, "execution.resource_shape")
    shape = serving.get("resource_shape") or (shape if subject.serves else None)
    if shape:
        shapes = lepton.shapes({name: known[name] for name in own or groups if name in known}, "deployment")
        yield _one_of("the endpoint's shape", shape, shapes, "execution.endpoint.resource_shape")


def _names(value: Any) -> list[str]:
    """As a configuration with mistakes may have them, too."""
    return [value] if isinstance(value, str) else list(value or ())


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
