"""`action/refresh`: the catalog's images read again, and what that changes proposed as a pull request."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog import store
from catalog.difference_text import COMMENT_LIMIT
from catalog.errors import UsageError
from catalog.github.api import Repository
from catalog.github.branches import Branch
from catalog.github.workflow_step import Failed, Workflow, say

TITLE = "Refresh the catalog"


@dataclass(frozen=True, slots=True)
class Refresh:
    """`base` is the branch that is checked out and to be changed, `head` the one that gets the change."""

    workflow: Workflow
    root: Path
    base: str
    head: str
    token: str

    def go(self) -> int:
        github = Repository.of(self.workflow.environ, self.token)
        with self.workflow.group("Read the catalog's images"):
            synced = self.workflow.evaldock("sync", f"--catalog={self.root}")
            say(synced.out)
        # An entry that can't be read now would be proposed as stale.
        Failed.unless(synced)
        files = self._changed()
        if not files:
            self.workflow.summary("### The catalog is up to date")
            self.workflow.output("pull-request", "")
            return 0
        body = self._checked()
        environ = self.workflow.git(self.token)
        branch = Branch(clone=self.workflow.workspace, name=self.head, environ=environ)
        branch.replace(files, message=TITLE, base=self.base)
        url = github.pull_request(head=self.head, base=self.base, title=TITLE, body=body)
        self.workflow.output("pull-request", url)
        self.workflow.summary(f"{body}\n\nProposed as a [pull request](<{url}>).")
        return 0

    def _changed(self) -> dict[str, bytes | None]:
        """Files of the IR that are no longer as they were committed, by their paths in the repository."""
        listed = self._git("status", "--porcelain", "-z", "--no-renames", "-uall", "--", store.IR)
        prefix = self._git("rev-parse", "--show-toplevel").rstrip("\n")
        files: dict[str, bytes | None] = {}
        for line in listed.split("\0")[:-1]:
            name = line[3:]
            path = Path(prefix) / name
            files[name] = path.read_bytes() if path.is_file() else None
        return files

    def _checked(self) -> str:
        """The difference, and that a reviewer needn't run what was run here. Raises Failed where it fails."""
        self._passes("check", f"--catalog={self.root}")
        difference = self.workflow.evaldock(
            "diff", "--format=markdown", f"--catalog={self.root}", "--", "HEAD"
        )
        Failed.unless(difference)
        environ = self.workflow.environ
        server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
        run = f"{server}/{repository}/actions/runs/{environ.get('GITHUB_RUN_ID', '')}"
        note = (
            "\n\nThe catalog was checked as it stands in this pull request: mapping.toml, the index and the "
            f"IR agree, and every image could be read ([the workflow](<{run}>)). Pull requests that a "
            "workflow makes start no other workflow: close and reopen it to run them."
        )
        return difference.out[: COMMENT_LIMIT - len(note)] + note

    def _passes(self, *arguments: str) -> None:
        done = self.workflow.evaldock(*arguments)
        if done.code:
            say(done.out)
            raise Failed("what was read does not make up a catalog that agrees with itself", done.code)

    def _git(self, *arguments: str) -> str:
        environ: Mapping[str, str] = {**self.workflow.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(
            ["git", "-C", os.fspath(self.root), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=environ,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise UsageError(f"git {arguments[0]} failed: {done.stderr.strip()[-300:]}", place=str(self.root))
        return done.stdout
