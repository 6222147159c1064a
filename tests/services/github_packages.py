"""GitHub's own reading of expressions, workflows and actions: the npm packages that its editors use."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.browser import Node

_DRIVER = Path(__file__).parent / "node" / "actions.mjs"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`text` is what stands in its place in a text, `truthy` what an `if` makes of it."""

    value: Any
    text: str
    truthy: bool


@dataclass(frozen=True, slots=True)
class Status:
    """Of a job so far: what success(), failure() and cancelled() come to."""

    failed: bool = False
    cancelled: bool = False

    @property
    def functions(self) -> dict[str, bool]:
        return {
            "success": not (self.failed or self.cancelled),
            "failure": self.failed and not self.cancelled,
            "cancelled": self.cancelled,
            "always": True,
        }


class GitHubPackages:
    def __init__(self, node: Node) -> None:
        self._count, self._lock = itertools.count(), threading.Lock()
        self._process = subprocess.Popen(
            [str(node.program), str(_DRIVER), str(node.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def evaluate(self, expression: str, contexts: Mapping[str, Any], status: Status) -> Evaluated:
        """Raises ValueError, with the package's own words, for what is no expression."""
        return Evaluated(
            **self._ask({"expression": expression, "contexts": contexts, "status": status.functions})
        )

    def problems(self, path: str, text: str) -> list[str]:
        """`path` is the file's in its repository: it says what the file is."""
        # What was read once under an address is kept under it.
        found = self._ask({"uri": f"file:///{next(self._count)}/{path}", "text": text})
        return [f"{path}:{one['line']}: {one['message']}" for one in found]

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _ask(self, question: Mapping[str, Any]) -> Any:
        if not (self._process.stdin and self._process.stdout):
            raise RuntimeError("closed")
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"node ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["answer"]


@pytest.fixture(scope="session")
def github_packages(node: Node) -> Iterator[GitHubPackages]:
    opened = GitHubPackages(node)
    yield opened
    opened.close()
