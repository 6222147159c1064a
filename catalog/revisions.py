"""A catalog as it stands in a git revision, read from git's objects: the work tree isn't touched."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from catalog import store
from catalog.errors import NotFound, Refused, UsageError
from catalog.models import Catalog

_SECONDS = 120
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
_MAX_BYTES = 512 << 20  # of all files of one catalog


def resolve_revision(root: Path, revision: str) -> str:
    """The commit's full hash. Raises UsageError outside of a repository and NotFound for no such commit."""
    # Two guards, so that a name out of a pull request never becomes an option: this, and --end-of-options.
    if revision.startswith("-") or not revision.isprintable() or not revision:
        raise UsageError(f"not a revision: {revision[:100]!r}")
    _git(root, "rev-parse", "--git-dir")
    done = _run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    commit = done.stdout.decode().strip()
    if done.returncode or not commit:
        raise NotFound(
            f"neither a catalog's folder nor a git revision: {revision!r}",
            hint="in a shallow clone, fetch it first: `git fetch --depth=1 origin BRANCH`",
        )
    return commit


def repository_of(root: Path) -> Path | None:
    """The top of the work tree that holds `root`; None where there is no repository, or no git."""
    try:
        done = _run(root, "rev-parse", "--show-toplevel")
    except NotFound:
        return None
    top = os.fsdecode(done.stdout).rstrip("\n")
    return Path(top) if done.returncode == 0 and top else None


def merge_base(root: Path, one: str, other: str) -> str:
    """The commit where two histories parted."""
    commits = [resolve_revision(root, one), resolve_revision(root, other)]
    done = _run(root, "merge-base", *commits)
    if done.returncode:
        raise NotFound(
            f"{one!r} and {other!r} have no common history here", hint="a shallow clone hasn't it: fetch more"
        )
    return done.stdout.decode().strip()


@dataclass(frozen=True, slots=True)
class Commit:
    """`date` is that of the commit itself (not of its author), as YYYY-MM-DD."""

    hash: str
    date: str
    subject: str


def commits(root: Path, limit: int) -> tuple[list[Commit], bool]:
    """The newest commits of the main line that changed the catalog's mapping or IR, newest first, and whether
    there were none before them: not so when `limit` cut the list, or a shallow clone did."""
    shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
    listed = _git(
        root,
        *(
            "log",
            "--first-parent",
            f"--max-count={limit + 1}",
            "--format=%H%x00%cs%x00%s",
            "--no-show-signature",
        ),
        *("--", store.MAPPING, store.IR),
    )
    lines = listed.decode(errors="replace").splitlines()
    found = [Commit(*line.split("\0", 2)) for line in lines[:limit]]
    return found, not shallow and len(lines) <= limit


def load_revision(root: Path, revision: str) -> Catalog | None:
    """The catalog that lies at `root` in the work tree, as of `revision`; None if there was none then."""
    commit = resolve_revision(root, revision)
    prefix = _git(root, "rev-parse", "--show-prefix").decode("utf-8", "surrogateescape").strip("\n")
    blobs = _blobs(root, commit, prefix)
    if store.MAPPING not in blobs and store.INDEX not in blobs:
        return None
    with tempfile.TemporaryDirectory(prefix="evaldock-revision-") as folder:
        _write_out(root, blobs, Path(folder))
        return replace(store.load(Path(folder)), root=f"{revision}:{prefix}")


def _blobs(root: Path, commit: str, prefix: str) -> dict[str, str]:
    """Path below the catalog's folder → blob, of mapping.toml and the IR only; symbolic links are none."""
    listed = _git(
        root,
        "ls-tree",
        "-r",
        "-z",
        "-l",
        "--full-tree",
        commit,
        f"{prefix}{store.MAPPING}",
        f"{prefix}{store.IR}",
    )
    found: dict[str, str] = {}
    total = 0
    for line in listed.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        described, path = line.split("\t", 1)
        mode, kind, blob, size = described.split()
        name = PurePosixPath(path.removeprefix(prefix))
        if kind != "blob" or mode == "120000" or len(name.parts) > 2:
            continue
        total += int(size)
        if total > _MAX_BYTES:
            raise Refused(f"the catalog in {commit[:12]} is larger than {_MAX_BYTES >> 20} MiB")
        found[str(name)] = blob
    return found


def _write_out(root: Path, blobs: dict[str, str], folder: Path) -> None:
    answer = _git(root, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs.values()).encode())
    at = 0
    for name in blobs:
        # "<blob> blob <size>\n<content>\n", in the order of the questions; "<blob> missing\n" in a clone
        # that left it out and can't fetch it now.
        end = answer.index(b"\n", at)
        size_text = answer[at:end].split()[-1]
        if not size_text.isdigit():
            raise NotFound(f"this clone lacks the contents of {name}", hint="fetch the whole revision")
        size = int(size_text)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(answer[end + 1 : end + 1 + size])
        at = end + 1 + size + 1


def _git(root: Path, *arguments: str, given: bytes | None = None) -> bytes:
    done = _run(root, *arguments, given=given)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(
            f"git {arguments[0]} failed: {message[0] if message else f'exit code {done.returncode}'}",
            place=str(root),
            hint="revisions are compared inside a git repository; folders can be compared anywhere",
        )
    return done.stdout


def _run(root: Path, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    # Inside of a hook these would lead away from the repository that the catalog is in.
    environment = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    # No prompt, no lock taken for a refresh nobody asked for, messages that don't depend on the locale.
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise NotFound("git is not installed", hint="compare two folders instead of revisions") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"git {arguments[0]} took longer than {_SECONDS} s", place=str(root)) from None
