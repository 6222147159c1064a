"""What one test run has in common: pytest's first process and, under xdist, its workers.

Whoever needs a service first starts it, under a file lock; the others read where it is. All of them are
stopped by the first process, at its end.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.required import Unavailable


@dataclass(frozen=True, slots=True)
class Shared:
    """`owner` is the process id of pytest's first process; servers end when it does."""

    folder: Path
    owner: int

    def once(self, name: str, start: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """What `start` answered, called once in the run with a new folder for the service. Why it was
        unavailable, or failed, is remembered too."""
        with self.lock(name):
            state = self.folder / f"{name}.json"
            if not state.exists():
                folder = self.folder / name
                folder.mkdir()
                answer: dict[str, Any]
                try:
                    answer = {"value": start(folder)}
                except Unavailable as error:
                    answer = {"unavailable": str(error)}
                except BaseException as error:  # a test's time limit too: the next one needn't wait as long
                    state.write_text(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
                    raise
                state.write_text(json.dumps(answer))
            answer = json.loads(state.read_text())
        if "failed" in answer:
            raise RuntimeError(f"{name} failed to start for an earlier test: {answer['failed']}")
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        value: dict[str, Any] = answer["value"]
        return value

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        with (self.folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
