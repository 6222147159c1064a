"""Built sites as a browser finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalog import store
from catalog.models import Catalog
from services.browser import Visit
from site_builds import sphinx_build

# Calls a function of a page script by its name, with what it is given and the browser's options.
Reader = Callable[..., Visit]


@dataclass(frozen=True, slots=True)
class BuiltSite:
    """A catalog and the folder with its pages."""

    catalog: Catalog
    folder: Path

    def url(self, page: str, rest: str = "") -> str:
        path = self.folder / f"{page}.html"
        assert path.is_file()
        return path.as_uri() + rest

    def page_of(self, kind: str) -> str:
        """A page for each template: `home`, `catalog`, `table`, `harness`, `task`, `browse`, `prose`,
        `search`, and where results were published `scored` (a task with them), `record`, `model`, `models`,
        `comparison`."""
        harness = self.catalog.harnesses[0].name
        first, second = (task.name for task in self.catalog.harnesses[0].tasks[:2])
        return {
            "home": "index",
            "catalog": "task_catalog/index",
            "table": "task_catalog/benchmarks-table",
            "harness": f"task_catalog/harnesses/{harness}",
            "task": f"task_catalog/tasks/{harness}/{second}",
            "scored": f"task_catalog/tasks/{harness}/{first}",
            "record": self._first("task_catalog/results/**/run-a.html"),
            "model": self._first("task_catalog/models/org-a-*.html"),
            "models": "task_catalog/models",
            "comparison": self._first("task_catalog/compare/org-a-*..org-b-*.html"),
            "browse": "browse",
            "prose": "using",
            "search": "search",
        }[kind]

    def _first(self, pattern: str) -> str:
        found = sorted(self.folder.glob(pattern))
        return found[0].relative_to(self.folder).with_suffix("").as_posix() if found else pattern


def build_site(catalog: Path, folder: Path) -> BuiltSite:
    """The site of a repository that has nothing but this catalog. No warning passes."""
    return BuiltSite(store.load(catalog), sphinx_build(folder, catalog).output)
