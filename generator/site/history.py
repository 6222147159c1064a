"""The newest changes of a catalog, out of the git repository that holds it.

No repository, no changes: nothing is made up, and nothing depends on when or where a site is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.difference import Difference, compare
from catalog.difference_text import summary
from catalog.errors import EvaldockError
from catalog.models import Catalog
from catalog.revisions import Commit, commits, load_revision

SHOWN = 5
_NO_REPOSITORY = "This catalog isn't in a git repository, so nothing is known of earlier states."
_SHALLOW = "Earlier changes are not in this clone."


@dataclass(frozen=True, slots=True)
class Change:
    """`commit` is None for what isn't committed yet, `difference` where one of the states doesn't verify."""

    commit: Commit | None
    difference: Difference | None
    first: bool = False

    @property
    def summary(self) -> str:
        if self.difference is None:
            return "can't be compared: the IR of one of its two states doesn't verify"
        return summary(self.difference)


@dataclass(frozen=True, slots=True)
class History:
    """Newest first. `note` says why there is no more, where there is anything to say."""

    changes: Sequence[Change]
    note: str | None = None


class ChangeLog:
    """Which commits there are is asked at once; reading them waits until somebody wants to see changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._root = Path(catalog.root)
        self._from_the_start = False
        try:
            self.commits, self._from_the_start = commits(self._root, SHOWN + 1)
        except EvaldockError:
            self.commits = []

    def history(self) -> History:
        if not self.commits:
            return History((), _NO_REPOSITORY)
        states = [load_revision(self._root, commit.hash) for commit in self.commits]
        found = [Change(None, _compare(states[0], self._catalog))]
        for commit, new, old in zip(self.commits, states, states[1:], strict=False):
            found.append(Change(commit, _compare(old, new)))
        if self._from_the_start:
            found.append(Change(self.commits[-1], _compare(None, states[-1]), first=True))
        changes = [change for change in found if change.difference is None or change.difference]
        complete = self._from_the_start or len(self.commits) > SHOWN
        return History(changes[:SHOWN], None if complete else _SHALLOW)


def _compare(old: Catalog | None, new: Catalog | None) -> Difference | None:
    if any(state is not None and state.problems for state in (old, new)):
        return None
    return compare(old.harnesses if old else (), new.harnesses if new else ())
