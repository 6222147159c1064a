"""Files on a branch of a git remote, changed without a work tree.

A change is a new tree on top of what the branch holds at that moment, pushed on the condition that it still
holds it. Whoever comes second makes the change again on top of the first one, so nobody's work is lost and
nothing is ever merged. What is checked out, and how deep, doesn't matter.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable, UsageError

TRIES = 30
LONGEST_PAUSE = 5.0
TIMEOUT = 300
NETWORK_TRIES = 4
_AT = "refs/evaldock/at"
_LOST_RACE = ("stale info", "fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref")
# How a clone reaches its remote: what actions/checkout and people configure there.
_REACHING = r"^(http\..*|core\.sshcommand|credential\..*|url\..*\.(insteadof|pushinsteadof))$"

Files = Mapping[str, bytes]
Edit = Callable[[Files], Mapping[str, bytes | None]]
"""From the files that are there to those that change: their new bytes, or None for those to be removed."""


class Unpushed(Unreachable):
    """The remote can't be reached; nothing of the change is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`clone` is any clone of the remote; only its address and how to reach it are read. `environ` is git's
    environment and may hold a token (see `with_token`). Without `history`, the branch is always one commit:
    what holds now, and nothing of before."""

    clone: Path
    name: str
    history: bool = True
    remote: str = "origin"
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def check(self) -> None:
        """Raises NotFound where there is no such branch, and what `change` raises where it can't be pushed
        to: a server says so before anything is sent."""
        with self._scratch() as git:
            tip = git.fetch(self.name)
            if tip is None:
                raise NotFound(f"no branch {self.name!r} to publish to", place=git.shown)
            if said := git.push(tip, self.name, expected=tip, dry=True):
                _judge(said, self.name, git.shown)

    def read(self, *paths: str) -> dict[str, bytes]:
        """The files at or below `paths` (none given: all of them); none where there is no such branch."""
        with self._scratch() as git:
            return git.files(git.fetch(self.name), paths)

    def change(
        self, edit: Edit, *, message: str, paths: Sequence[str] = (), base: str | None = None
    ) -> str | None:
        """The new commit; None where the edit changed nothing. `edit` is told the files at or below `paths`
        (none given: all), and may be called several times.

        A branch that doesn't exist begins at `base` (another branch), else empty. Raises Unpushed for a
        remote that can't be reached, Refused for one that won't take it, and what `edit` raises.
        """

        def made(git: _Scratch) -> tuple[str | None, str | None]:
            tip = git.fetch(self.name)
            below = tip or (git.fetch(base) if base else None)
            if base and below is None:
                raise NotFound(f"no branch {base!r} to begin from", place=git.shown)
            changes = edit(git.files(below, paths))
            return tip, git.commit(below, changes, message, history=self.history)

        return self._pushed(made)

    def replace(self, files: Mapping[str, bytes | None], *, message: str, base: str) -> str | None:
        """Makes this branch one commit on top of the branch `base`, whatever it was; None where it would be
        `base` itself. Raises what `change` raises."""

        def made(git: _Scratch) -> tuple[str | None, str | None]:
            tip, below = git.fetch(self.name), git.fetch(base)
            if below is None:
                raise NotFound(f"no branch {base!r} to begin from", place=git.shown)
            return tip, git.commit(below, files, message, history=True)

        return self._pushed(made)

    def _pushed(self, made: Callable[[_Scratch], tuple[str | None, str | None]]) -> str | None:
        """`made` answers what the branch is now and what it is to be; asked again after every lost race."""
        said = ""
        for turn in range(TRIES):
            with self._scratch() as git:
                tip, commit = made(git)
                if commit is None:
                    return None
                said = git.push(commit, self.name, expected=tip)
                if not said:
                    return commit
                _judge(said, self.name, git.shown)
            time.sleep(random.uniform(0, min(0.1 * 2**turn, LONGEST_PAUSE)))  # noqa: S311 # spreads, guards nothing
        raise Unpushed(f"others were quicker {TRIES} times: {said[-300:]}", place=self.name)

    @contextmanager
    def _scratch(self) -> Iterator[_Scratch]:
        asked = _run(self.clone, self.environ, "remote", "get-url", self.remote)
        if asked.returncode:
            raise UsageError(
                f"no git remote {self.remote!r} to publish to",
                place=str(self.clone),
                hint="in a workflow, actions/checkout makes the clone",
            )
        environ = {**self.environ, **_reaching(self.clone, self.environ)}
        with tempfile.TemporaryDirectory(prefix="evaldock-branch-") as folder:
            yield _Scratch(Path(folder), asked.stdout.rstrip("\n"), environ)


def with_token(environ: Mapping[str, str], server: str, token: str) -> dict[str, str]:
    """git's environment with a token that is sent to `server` (an address) and to nobody else. It stands in
    no command line and no file."""
    import base64  # noqa: PLC0415 # only where there is a token

    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        **environ,
        **_settings(environ, [(f"http.{server.rstrip('/')}/.extraheader", f"AUTHORIZATION: basic {basic}")]),
    }


class _Scratch:
    """A bare repository that lives as long as one try."""

    def __init__(self, folder: Path, address: str, environ: Mapping[str, str]) -> None:
        self.folder, self.address, self.environ = folder, address, dict(environ)
        # An address may hold credentials; messages don't.
        self.shown = address.rpartition("@")[2] if "://" in address else address
        self._git("init", "--quiet", "--bare", ".")
        self.environ["GIT_INDEX_FILE"] = str(folder / "evaldock-index")

    def tip(self, branch: str) -> str | None:
        ref = f"refs/heads/{branch}"
        listed = self._reach("ls-remote", "--", self.address, ref)
        return next((line.split("\t")[0] for line in listed.splitlines() if line.endswith(f"\t{ref}")), None)

    def fetch(self, branch: str) -> str | None:
        """The branch's newest commit; None for no such branch."""
        if self.tip(branch) is None:
            return None
        ref = f"refs/heads/{branch}"
        self._reach("fetch", "--quiet", "--no-tags", "--depth=1", "--", self.address, f"+{ref}:{_AT}")
        # What came, not what was listed: the branch may have moved in between.
        return self._git("rev-parse", "--verify", _AT).strip()

    def files(self, commit: str | None, paths: Sequence[str]) -> dict[str, bytes]:
        if commit is None:
            return {}
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths)
        blobs = {}
        for line in listed.split("\0")[:-1]:
            described, path = line.split("\t", 1)
            mode, kind, blob = described.split()
            if kind == "blob" and mode != "120000":
                blobs[path] = blob
        return {path: self._bytes("cat-file", "blob", blob) for path, blob in blobs.items()}

    def commit(
        self, below: str | None, changes: Mapping[str, bytes | None], message: str, *, history: bool
    ) -> str | None:
        self._git("read-tree", *([below] if below else ["--empty"]))
        lines = []
        for path, content in changes.items():
            if content is None:
                lines.append(f"0 {'0' * 40}\t{path}")
            else:
                blob = self._bytes("hash-object", "-w", "--stdin", given=content).decode().strip()
                lines.append(f"100644 {blob}\t{path}")
        self._bytes("update-index", "-z", "--index-info", given="".join(f"{x}\0" for x in lines).encode())
        tree = self._git("write-tree").strip()
        if below and tree == self._git("rev-parse", f"{below}^{{tree}}").strip():
            return None
        if not below and not changes:
            return None
        parents = ["-p", below] if below and history else []
        return self._git("commit-tree", tree, *parents, "-m", message).strip()

    def push(self, commit: str, branch: str, *, expected: str | None, dry: bool = False) -> str:
        """What git said about a push that wasn't taken; nothing for one that was."""
        ref = f"refs/heads/{branch}"
        options = [f"--force-with-lease={ref}:{expected or ''}", *(["--dry-run"] if dry else [])]
        done = _run(
            self.folder, self.environ, "push", "--porcelain", *options, "--", self.address, f"{commit}:{ref}"
        )
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or "git push failed"

    def _reach(self, *arguments: str) -> str:
        """Of the network: what it refuses once it may give the next time."""
        for turn in range(NETWORK_TRIES):
            done = _run(self.folder, self.environ, *arguments)
            if done.returncode == 0:
                return done.stdout
            if turn + 1 < NETWORK_TRIES:
                time.sleep(random.uniform(0, 0.5 * 2**turn))  # noqa: S311 # spreads, guards nothing
        raise _unreachable(done.stderr, self.shown)

    def _git(self, *arguments: str) -> str:
        return self._bytes(*arguments).decode("utf-8", "surrogateescape")

    def _bytes(self, *arguments: str, given: bytes | None = None) -> bytes:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            env=self.environ,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            raise Refused(f"git {arguments[0]} failed: {said}", place=self.shown)
        return done.stdout


def _judge(said: str, branch: str, address: str) -> None:
    """Passes where somebody else was quicker; raises for what trying again won't mend."""
    if any(sign in said for sign in _LOST_RACE):
        return
    if "[remote rejected]" in said or "denied" in said or "403" in said:
        raise Refused(
            f"the remote doesn't take what is pushed to {branch!r}: {said[-500:]}",
            place=address,
            hint="a protected branch takes pull requests (publish: pull-request); "
            "a token needs the permission contents: write",
        )
    raise _unreachable(said, address)


def _unreachable(said: str, address: str) -> EvaldockError:
    text = said.strip()[-500:]
    if any(sign in text for sign in ("Authentication failed", "could not read Username", "403", "denied")):
        return Refused(
            f"the remote doesn't let us in: {text}",
            place=address,
            hint="the step needs a token with the permission contents: write",
        )
    return Unpushed(f"the remote can't be reached: {text}", place=address, hint="try again later")


def _reaching(clone: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """How `clone` is configured to reach its remote, as variables for a git that is somewhere else."""
    asked = _run(clone, environ, "config", "--local", "--includes", "-z", "--get-regexp", _REACHING)
    pairs = [entry.partition("\n")[::2] for entry in asked.stdout.split("\0") if entry]
    return _settings(environ, pairs)


def _settings(environ: Mapping[str, str], pairs: list[tuple[str, str]]) -> dict[str, str]:
    """git's GIT_CONFIG_COUNT, _KEY_n and _VALUE_n, after those that are there already."""
    first = int(environ.get("GIT_CONFIG_COUNT") or 0)
    made: dict[str, str] = {}
    for at, (key, value) in enumerate(pairs, first):
        made |= {f"GIT_CONFIG_KEY_{at}": key, f"GIT_CONFIG_VALUE_{at}": value}
    return {**made, "GIT_CONFIG_COUNT": str(first + len(pairs))} if pairs else {}


def _run(folder: Path, environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
        env={**environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
    )
