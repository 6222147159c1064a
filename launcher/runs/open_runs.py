"""Runs that go on after the job that started them: their handles on a branch of the repository.

The branch holds `runs/<run id>.json`, one for each run that has not been closed, and is always one commit. A
file is the run's handle, and under `kept` what is to become of its results. Whoever looks after runs holds
them for a while first, in the same atomic change of the branch that tells him which are free: so two who look
at the same moment share the runs between them, and the runs of one who vanished are free again later.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import UsageError
from catalog.github.branches import Branch
from catalog.records import number
from launcher.plans.plan_files import plan_from_data
from launcher.runs import run_directory as files

BRANCH = "evaldock-runs"
PREFIX = "runs/"
_NAME = re.compile(r"runs/([a-z0-9]{16})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """`catalog` is its folder below the repository's top. `publish` is none, commit or pull-request, `branch`
    where to. `minimums` and `baseline` make up its gate. `deadline` is how many seconds the run may take.
    `origin` are the variables of the workflow that began it, for its records. Held by `holder` until `until`
    (seconds since the epoch)."""

    catalog: str
    publish: str
    branch: str
    partial: bool = False
    minimums: tuple[str, ...] = ()
    baseline: str = ""
    deadline: float | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    cancelled: bool = False
    holder: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """`handle` is the content of its run.json."""

    run_id: str
    handle: Mapping[str, Any]
    kept: Kept

    @property
    def created(self) -> float:
        return number(self.handle.get("created")) or 0.0

    def write(self, folder: Path) -> Path:
        """Its handle as a file below `folder`, to be adopted."""
        path = folder / self.run_id / files.HANDLE
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, self.handle, mode=0o600)
        return path


def read(branch: Branch) -> tuple[list[OpenRun], list[str]]:
    """The open runs by age, and a line for each file that isn't one."""
    return _parsed(branch.read(PREFIX))


def keep(branch: Branch, run_id: str, handle: Path, kept: Kept) -> None:
    """Writes a run's handle anew, or for the first time: then it counts as begun, whatever comes."""
    data = files.read_handle(handle)
    if data is None:
        raise UsageError("not a run's handle", place=str(handle))
    content = _content(data, kept)
    branch.change(lambda _: {_path(run_id): content}, message=f"Keep {run_id}")


def hold(branch: Branch, holder: str, seconds: float) -> tuple[list[OpenRun], list[str]]:
    """Takes every run that nobody holds; those, and a line for each file that isn't a run's handle."""
    mine: list[OpenRun] = []
    problems: list[str] = []

    def edit(present: Mapping[str, bytes]) -> Mapping[str, bytes | None]:
        now = time.time()
        found, problems[:] = _parsed(present)
        free = [run for run in found if run.kept.until < now or run.kept.holder == holder]
        mine[:] = [
            dataclasses.replace(run, kept=dataclasses.replace(run.kept, holder=holder, until=now + seconds))
            for run in free
        ]
        return {_path(run.run_id): _content(run.handle, run.kept) for run in mine}

    branch.change(edit, message="Look after runs", paths=[PREFIX])
    return mine, problems


def settle(
    branch: Branch, holder: str, *, again: Mapping[str, Mapping[str, Any]], closed: set[str]
) -> set[str]:
    """Lets go of what `holder` holds: `closed` runs vanish, those in `again` get their new handle. What
    somebody else took over meanwhile stays as it is; the runs that did."""
    lost: set[str] = set()

    def edit(present: Mapping[str, bytes]) -> Mapping[str, bytes | None]:
        lost.clear()
        changes: dict[str, bytes | None] = {}
        for run in _parsed(present)[0]:
            if run.run_id not in closed and run.run_id not in again:
                continue
            if run.kept.holder != holder:
                lost.add(run.run_id)
            elif run.run_id in closed:
                changes[_path(run.run_id)] = None
            else:
                free = dataclasses.replace(run.kept, holder="", until=0.0)
                changes[_path(run.run_id)] = _content(again[run.run_id], free)
        return changes

    branch.change(edit, message=_settled(closed), paths=[PREFIX])
    return lost


def close(branch: Branch, run_id: str) -> None:
    """Whoever holds it."""
    branch.change(dict.fromkeys, message=_settled({run_id}), paths=[_path(run_id)])


def _settled(closed: set[str]) -> str:
    return f"Close {', '.join(sorted(closed))}" if closed else "Look after runs"


def _parsed(present: Mapping[str, bytes]) -> tuple[list[OpenRun], list[str]]:
    found, problems = [], []
    for path, content in sorted(present.items()):
        match = _NAME.fullmatch(path)
        try:
            if match is None:
                raise ValueError("the name is not that of a run")
            found.append(_open_run(match[1], json.loads(content)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
            problems.append(f"{path}: not a run's handle: {problem}")
    return found, problems


def _open_run(run_id: str, data: Any) -> OpenRun:
    kept = Kept(**data.pop("kept"))
    kept = dataclasses.replace(kept, minimums=tuple(map(str, kept.minimums)), origin=dict(kept.origin))
    # All of it, so that nobody comes upon the rest later, with other runs in hand.
    plan, _ = plan_from_data(data["plan"]), dict(data["jobs"])
    if plan.run_id != run_id:
        raise ValueError("it is the handle of another run")
    inputs = (path for job in plan.jobs for path in job.inputs.values())
    for path in (kept.catalog, *(job.directory for job in plan.jobs), *inputs):
        # They are joined to folders of the machine that looks after the run.
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"a path leads elsewhere: {path!r:.100}")
    return OpenRun(run_id=run_id, handle=data, kept=kept)


def _path(run_id: str) -> str:
    return f"{PREFIX}{run_id}.json"


def _content(handle: Mapping[str, Any], kept: Kept) -> bytes:
    data = {**handle, "kept": dataclasses.asdict(kept)}
    return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()
