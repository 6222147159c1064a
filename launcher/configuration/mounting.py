"""How a run's jobs see folders that its configuration names by `${auto_mount:…}` and `${art:…}`, once it is
known where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.cachedir import cache_dir
from catalog.errors import Refused
from catalog.normal_form import merge
from launcher.code import git_checkouts
from launcher.code.git_sources import GitMount
from launcher.configuration.compose import Composed
from launcher.configuration.model import Execution
from launcher.configuration.resolvers import Context

# Backends whose containers can have any folder of their machine mounted.
_MOUNTING = ("docker", "slurm")


def mounted(
    composed: Composed,
    context: Context,
    execution: Execution,
    *,
    git_dir: Path | None,
    shared_artifacts: bool,
    dry_run: bool,
) -> Composed:
    """`composed` with each folder as its jobs see it: mounted in containers, itself without them. The same
    object where no folder is named.

    `git_dir` is `[cache] git_dir` of env.toml; `shared_artifacts` says that the registry was named, so that
    other machines may see it under the same path. A dry run fetches nothing from git and leaves what was
    written. Raises Refused for folders of this machine where jobs run on another, and what `git_checkouts`
    raises.
    """
    if not (context.mounts or context.folders):
        return composed
    _check_seen(context, execution, shared=shared_artifacts, git_dir=git_dir, dry_run=dry_run)
    if dry_run:
        texts = {each.placeholder: f"${{auto_mount:{each.source},{each.target}}}" for each in context.mounts}
        added: list[str] = []
    else:
        texts, added = _checked_out(context.mounts, execution, git_dir)
    data = _replaced(composed.data, texts)
    if execution.contained and execution.backend in _MOUNTING:
        added += [f"{folder}:{folder}:ro" for folder in context.folders]
        data = _with_mounts(data, "execution", added)
        if data.get("deployment", {}).get("type", "none") != "none":
            data = _with_mounts(data, "deployment", added)
    return replace(composed, data=data)


def _check_seen(
    context: Context, execution: Execution, *, shared: bool, git_dir: Path | None, dry_run: bool
) -> None:
    if not execution.remote:
        return
    if context.mounts and not git_dir and not dry_run:
        raise Refused(
            f"{context.mounts[0].source} would be mounted from a folder of this machine, and jobs run on "
            "another",
            hint='name a folder that both see in env.toml: [cache] git_dir = "/shared/git"',
        )
    if context.folders and not shared:
        raise Refused(
            f"the artifact in {context.folders[0]} lies on this machine, and jobs run on another",
            hint='name a registry that both see in env.toml: [artifacts] root = "/shared/artifacts"',
        )


def _checked_out(
    mounts: Sequence[GitMount], execution: Execution, git_dir: Path | None
) -> tuple[dict[str, str], list[str]]:
    """What stands for each placeholder, and the mounts that containers need for it."""
    folder = (git_dir or cache_dir("git")).resolve()
    texts: dict[str, str] = {}
    added: list[str] = []
    for mount in mounts:
        here = git_checkouts.checkout(mount, folder)
        texts[mount.placeholder] = mount.target if execution.contained else str(here)
        added.append(f"{here}:{mount.target}:ro")
    return texts, added


def _with_mounts(data: Mapping[str, Any], section: str, added: Sequence[str]) -> dict[str, Any]:
    """Without those that a mount of the configuration covers already."""
    own = list((data.get(section) or {}).get("mounts", []))
    targets = [mount.split(":")[1] for mount in own if isinstance(mount, str) and ":" in mount]
    new = [
        mount
        for mount in added
        if not any(Path(mount.split(":")[1]).is_relative_to(each) for each in targets)
    ]
    return merge(data, {section: {"mounts": [*own, *new]}}) if new else dict(data)


def _replaced(data: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(data, Mapping):
        return {key: _replaced(value, texts) for key, value in data.items()}
    if isinstance(data, list):
        return [_replaced(value, texts) for value in data]
    if isinstance(data, str):
        for placeholder, text in texts.items():
            data = data.replace(placeholder, text)
    return data
