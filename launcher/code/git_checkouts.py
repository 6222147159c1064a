"""Commits of git repositories as folders, content-addressed: a commit is checked out once, ever.

git runs without prompts, hooks and submodules, and with the transports of `launcher.code.git_sources` only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from catalog.errors import NotFound, Unreachable, UsageError
from launcher.code.git_sources import COMMIT, SCHEMES, GitMount
from launcher.runs.locking import locked

# Seconds that one command of git may take.
PATIENCE = 900
# Of git's own variables: how it reaches others, and where this machine's settings are.
_KEPT = ("GIT_SSH", "GIT_SSL_", "GIT_ASKPASS", "GIT_PROXY_SSL_", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
_SAFE = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "gc.auto=0"),
)


def checkout(mount: GitMount, folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the commit that the mount's ref leads to, below `folder`. A full commit that is there
    already needs no network.

    Raises Unreachable where the repository can't be asked, NotFound for a ref that it doesn't have.
    """
    if COMMIT.fullmatch(mount.ref) and (ready := folder / "commits" / mount.ref).is_dir():
        return ready
    repository = folder / "repositories" / hashlib.sha256(mount.url.encode()).hexdigest()[:32]
    git = _Git(repository, environ)
    with locked(repository.with_suffix(".lock")):
        git.prepare()
        commit = git.fetch(mount)
        ready = folder / "commits" / commit
        if not ready.is_dir():
            _write(git, commit, ready)
    return ready


def _write(git: _Git, commit: str, ready: Path) -> None:
    ready.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{commit[:12]}-", dir=ready.parent))
    try:
        git.write(commit, making)
        making.chmod(0o755)
        try:
            making.rename(ready)
        except OSError:
            # Another repository has the same commit, and somebody was quicker with that.
            if not ready.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


class _Git:
    def __init__(self, repository: Path, environ: Mapping[str, str]) -> None:
        self.repository = repository
        # Variables of a git that is running around us (a hook's) would lead to another repository.
        own = {
            name: value
            for name, value in environ.items()
            if not name.startswith("GIT_") or name.startswith(_KEPT)
        }
        self.environ = {
            **own,
            "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    def prepare(self) -> None:
        self.repository.mkdir(parents=True, exist_ok=True)
        if not (self.repository / "HEAD").exists():
            self._run("init", "--quiet", "--bare", str(self.repository))

    def fetch(self, mount: GitMount) -> str:
        """The commit that the ref leads to, fetched."""
        name = f"refs/evaldock/{hashlib.sha256(mount.ref.encode()).hexdigest()}"
        depth = () if mount.url.startswith("file:") else ("--depth", "1")
        fetched = self._git("fetch", "--quiet", "--no-tags", *depth, "--", mount.url, f"+{mount.ref}:{name}")
        if fetched.returncode and COMMIT.fullmatch(mount.ref):
            # Not every server gives single commits: ask for everything.
            everything = "+refs/*:refs/evaldock/all/*"
            fetched = self._git("fetch", "--quiet", "--no-tags", "--", mount.url, everything)
            name = mount.ref
        if fetched.returncode:
            raise _failed(mount, fetched.stderr)
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        commit = found.stdout.strip()
        if found.returncode or not COMMIT.fullmatch(commit):
            raise NotFound(f"{mount.url} has no commit {mount.ref!r}", place=mount.source)
        return commit

    def write(self, commit: str, folder: Path) -> None:
        index = folder.with_name(f"{folder.name}.index")
        try:
            self._run(
                f"--work-tree={folder}",
                *("checkout", "--quiet", "--force", commit, "--", "."),
                GIT_INDEX_FILE=str(index),
            )
        finally:
            index.unlink(missing_ok=True)

    def _git(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *_SAFE, f"--git-dir={self.repository}", *words],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                env={**self.environ, **more},
                timeout=PATIENCE,
                check=False,
            )
        except FileNotFoundError:
            raise UsageError("${auto_mount:…} needs git, which is not installed") from None
        except subprocess.TimeoutExpired:
            raise Unreachable(f"git {words[0]} took longer than {PATIENCE} seconds") from None

    def _run(self, *words: str, **more: str) -> None:
        ran = self._git(*words, **more)
        if ran.returncode:
            raise Unreachable(f"git {words[0]} failed: {_last(ran.stderr)}", place=str(self.repository))


def _failed(mount: GitMount, said: str) -> NotFound | Unreachable:
    if "couldn't find remote ref" in said:
        return NotFound(f"{mount.url} has no branch or tag {mount.ref!r}", place=mount.source)
    return Unreachable(
        f"git can't fetch {mount.ref} from {mount.url}: {_last(said)}",
        place=mount.source,
        hint="`git ls-remote` says whether this machine may read it",
    )


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
