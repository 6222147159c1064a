"""What a document writes to show a part of the catalog, and what stands for it until HTML is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from generator.site.text import plain, shorten

if TYPE_CHECKING:
    from sphinx.writers.html5 import HTML5Translator

    from generator.site.domain import EvalDomain

logger = logging.getLogger(__name__)


class catalog_block(nodes.General, nodes.Element):  # noqa: N801 # node classes are named like their tags
    """A block of `Site.block`. Its children are words for Sphinx's search index and never written."""


def write_block(translator: HTML5Translator, node: catalog_block) -> None:
    domain = cast("EvalDomain", translator.builder.env.domains["eval"])
    translator.body.append(domain.site.block(node["kind"], node["page"]))
    raise nodes.SkipNode


def leave_out(_translator: nodes.NodeVisitor, _node: catalog_block) -> None:
    """Formats other than HTML have no place for these blocks."""
    raise nodes.SkipNode


class CatalogDirective(SphinxDirective):
    """A directive that shows one block; subclasses name it."""

    kind: str

    def run(self) -> list[nodes.Node]:
        return [self.block(self.kind)]

    def block(self, kind: str, words: str = "") -> catalog_block:
        page = self.env.docname
        self.domain.note_block(page, kind)
        node = catalog_block("", nodes.Text(words), kind=kind, page=page)
        self.set_source_info(node)
        return node

    @property
    def domain(self) -> EvalDomain:
        return cast("EvalDomain", self.env.domains["eval"])


class Numbers(CatalogDirective):
    """How much there is, and a field to search it."""

    kind = "numbers"


class Harnesses(CatalogDirective):
    kind = "harnesses"


class Benchmarks(CatalogDirective):
    kind = "benchmarks"


class Changes(CatalogDirective):
    """The newest changes, where the catalog is in a git repository."""

    kind = "changes"


class Data(CatalogDirective):
    """Links to what machines read."""

    kind = "data"


class HarnessPage(CatalogDirective):
    """The whole page of the harness whose address the document has."""

    def run(self) -> list[nodes.Node]:
        harness = self.domain.site.harness_at.get(self.env.docname)
        if harness is None:
            logger.warning(
                "no harness of the catalog has this address", location=self.get_location(), type="eval"
            )
            return []
        page = self._section("overview", shorten(plain(harness.title), 160) or harness.name)
        page += self.block("facts", plain(f"{harness.name} {harness.description or ''}")[:2000])
        for kind, title in (("tasks", "Tasks"), ("command", "Command"), ("origin", "Where this comes from")):
            part = self._section(kind, title)
            part += self.block(kind)
            page += part
        return [page]

    def _section(self, id_: str, title: str) -> nodes.section:
        section = nodes.section("", nodes.title(title, title), ids=[id_])
        self.set_source_info(section)
        return section


DIRECTIVES: dict[str, type[CatalogDirective]] = {
    "numbers": Numbers,
    "harnesses": Harnesses,
    "benchmarks": Benchmarks,
    "changes": Changes,
    "data": Data,
    "harness-page": HarnessPage,
}
