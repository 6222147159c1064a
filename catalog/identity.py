"""What makes two results comparable: `task_sha` (the same task?) and `params_sha` (the same question?).

Both are sha256 over canonical JSON, shortened nowhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.models import Harness, Task

# Parameters that change how fast or how far a run goes, not what a sample scores.
_NEUTRAL = {
    ("config", "output_dir"),
    ("config", "params", "parallelism"),
    ("config", "params", "request_timeout"),
    ("config", "params", "max_retries"),
    ("config", "params", "limit_samples"),
    ("config", "params", "extra", "shard"),
    ("config", "params", "extra", "backoff"),
    ("target", "api_endpoint", "url"),
    ("target", "api_endpoint", "model_id"),
    ("target", "api_endpoint", "api_key_name"),
    ("target", "api_endpoint", "stream"),
}
_SKIPPED = {"__pycache__", ".git", ".venv", "build", "dist"}


def canonical_sha256(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def task_sha(harness: Harness, task: Task, packages: Sequence[str] = ()) -> str:
    """`packages`, where given, stand for the image: see `pinned_packages`."""
    origin = {"packages": sorted(packages)} if packages else {"image": harness.image.manifest_digest}
    return canonical_sha256({**origin, "task": task.name, "defaults": task.defaults})


def params_sha(task: Task, overrides: Mapping[str, Any]) -> str:
    """Over the overrides that differ from the task's defaults and can move a score."""
    return canonical_sha256(_moving(overrides, task.defaults, ()))


def _moving(overrides: Mapping[str, Any], defaults: Any, path: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in overrides.items():
        here = (*path, str(key))
        below = defaults.get(key) if isinstance(defaults, Mapping) else None
        if here in _NEUTRAL or value == below:
            continue
        if isinstance(value, Mapping):
            if inner := _moving(value, below, here):
                found[str(key)] = inner
        else:
            found[str(key)] = value
    return found


def pinned_packages(root: Path, packages: Sequence[str]) -> tuple[str, ...]:
    """The requirements as they identify a task: what lies on this machine (relative to `root`) by its sha256,
    that of a folder or that of a requirements file."""
    return tuple(_pinned(root / p) if is_local(p) else p for p in packages)


def _pinned(path: Path) -> str:
    if path.is_file():
        return f"requirements:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"folder:{folder_sha256(path)}"


def is_local(package: str) -> bool:
    """A folder or a requirements file, not a requirement."""
    return package.startswith((".", "/")) or ("/" in package and "@" not in package)


def folder_sha256(folder: Path) -> str:
    """Over the relative names and contents of its files, without what building and running leave behind."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not _SKIPPED.intersection(path.relative_to(folder).parts)
        and not any(part.endswith(".egg-info") for part in path.relative_to(folder).parts)
    )
    parts = [
        [path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files
    ]
    return canonical_sha256(parts)
