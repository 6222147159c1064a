"""Publishing records: into a catalog's folder, and from there by git to everybody.

One new file per record, so two publishers never touch the same file. A push that comes second is rebased on
what came first and tried again.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog import record_files
from catalog.errors import NotFound, Refused, Unreachable, UsageError
from catalog.records import Record

TRIES = 30
LONGEST_PAUSE = 5.0
TIMEOUT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """`files` are new, relative to the catalog; `commit` is None where nothing was committed."""

    files: tuple[str, ...]
    commit: str | None = None
    pushed: bool = False


def publish(
    root: Path,
    made: Sequence[tuple[Record, Mapping[str, float]]],
    *,
    commit: bool = False,
    push: bool = False,
) -> Publication:
    """Writes the records below `root`/results; with `commit` as one commit, with `push` to the upstream.

    Raises NotFound where `root` is no catalog, Refused for a name that another result has, Unreachable when
    pushing fails for good: the commit then stands, and publishing again pushes it.
    """
    if not (root / "mapping.toml").is_file():
        raise NotFound("no catalog to publish to: there is no mapping.toml", place=str(root))
    new = [file for record, samples in made for file in record_files.write(root, record, samples)]
    names = tuple(str(file.relative_to(root)) for file in new)
    if not commit and not push:
        return Publication(files=names)
    expected = [root / record_files.RESULTS / record_files.path_of(record) for record, _ in made]
    wanted = [*expected, *(path for file in expected if (path := record_files.samples_path(file)).exists())]
    revision = _commit(root, wanted, [record for record, _ in made])
    if push:
        _push(root)
    return Publication(files=names, commit=revision, pushed=push)


def _commit(root: Path, wanted: Sequence[Path], published: Sequence[Record]) -> str | None:
    paths = [str(path.relative_to(root)) for path in wanted]
    _git(root, "add", "--", *paths)
    if not _git(root, "status", "--porcelain", "--", *paths).strip():
        return None
    _git(root, "commit", "--quiet", "--message", title(published), "--", *paths)
    return _git(root, "rev-parse", "HEAD").strip()


def title(published: Sequence[Record]) -> str:
    """Of a commit that adds them, in one line."""
    tasks = sorted({record.task_id for record in published})
    models = sorted({record.model for record in published})
    return f"Publish {_some(tasks)} for {_some(models)}"


def _some(names: Sequence[str]) -> str:
    text = " ".join(" and ".join(names[:2]).split())[:120]
    return f"{text} and {len(names) - 2} more" if len(names) > 2 else text


def _push(root: Path) -> None:
    """Fetch, rebase, push, until nobody was quicker. Only new files are added, so a rebase can't conflict,
    save with somebody who published the same run: then it is left as it was."""
    last = ""
    for turn in range(TRIES):
        done = _run(root, "push", "--quiet")
        if done.returncode == 0:
            return
        last = done.stderr
        if not any(
            sign in last
            for sign in (
                "rejected",
                "fetch first",
                "non-fast-forward",
                "cannot lock ref",
                "failed to update ref",
            )
        ):
            raise Unreachable(
                f"git push failed: {last.strip()[-500:]}",
                place=str(root),
                hint="the commit stands; publish again",
            )
        time.sleep(random.uniform(0, min(0.1 * 2**turn, LONGEST_PAUSE)))  # noqa: S311 # spreads, guards nothing
        pulled = _run(root, "pull", "--quiet", "--rebase", "--autostash")
        if pulled.returncode != 0 and "CONFLICT" in pulled.stdout + pulled.stderr:
            _run(root, "rebase", "--abort")
            raise Refused(
                "somebody else published another result under the same name",
                place=str(root),
                hint="`git log` of the upstream branch shows it",
            )
    raise Unreachable(f"git push was beaten {TRIES} times: {last.strip()[-300:]}", place=str(root))


def _git(root: Path, *arguments: str) -> str:
    done = _run(root, *arguments)
    if done.returncode != 0:
        raise Refused(f"git {arguments[0]} failed: {done.stderr.strip()[-500:]}", place=str(root))
    return done.stdout


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"git {arguments[0]} took longer than {TIMEOUT} seconds",
            place=str(root),
            hint="`git status` there says what stands; publish again",
        ) from None
    except FileNotFoundError:
        raise UsageError("committing results needs git, which is not installed") from None
