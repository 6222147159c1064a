"""What `${auto_mount:…}` comes to once it is known how a run's jobs see folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.cachedir import cache_dir
from catalog.errors import Refused
from catalog.normal_form import merge
from launcher import git_checkouts
from launcher.configuration.compose import Composed
from launcher.configuration.model import Execution
from launcher.git_sources import GitMount


def mounted(
    composed: Composed,
    mounts: Sequence[GitMount],
    execution: Execution,
    *,
    git_dir: Path | None,
    dry_run: bool,
) -> Composed:
    """`composed` with each checkout's folder as its jobs see it: mounted in containers, itself without them.

    `git_dir` is `[cache] git_dir` of env.toml. A dry run fetches nothing and leaves what was written. Raises
    Refused where jobs run elsewhere and no shared folder is named, and what `git_checkouts` raises.
    """
    if not mounts:
        return composed
    if dry_run:
        written = {mount.placeholder: f"${{auto_mount:{mount.source},{mount.target}}}" for mount in mounts}
        return replace(composed, data=_replaced(composed.data, written))
    if execution.remote and not git_dir:
        raise Refused(
            f"{mounts[0].source} would be mounted from a folder of this machine, and jobs run on another",
            hint='name a folder that both see in env.toml: [cache] git_dir = "/shared/git"',
        )
    folder = (git_dir or cache_dir("git")).resolve()
    seen: dict[str, str] = {}
    added: list[str] = []
    for mount in mounts:
        here = git_checkouts.checkout(mount, folder)
        seen[mount.placeholder] = mount.target if execution.contained else str(here)
        added.append(f"{here}:{mount.target}:ro")
    data = _replaced(composed.data, seen)
    if execution.contained:
        own = data.get("execution", {})
        data = merge(data, {"execution": {"mounts": [*own.get("mounts", []), *added]}})
    return replace(composed, data=data)


def _replaced(data: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(data, Mapping):
        return {key: _replaced(value, texts) for key, value in data.items()}
    if isinstance(data, list):
        return [_replaced(value, texts) for value in data]
    if isinstance(data, str):
        for placeholder, text in texts.items():
            data = data.replace(placeholder, text)
    return data
