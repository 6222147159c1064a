"""The Sphinx domain `eval`: tasks and harnesses as objects that any page, and other projects, can link to.

The objects come from the catalog, not from what documents declare. What the domain remembers of documents is
which objects they link to and which blocks of the catalog they show, so that a change of the catalog brings
up to date precisely the documents that it touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx import addnodes
from sphinx.domains import Domain, ObjType
from sphinx.roles import XRefRole
from sphinx.util.nodes import make_refnode

from catalog.nearest import did_you_mean
from generator.site.text import plain, shorten

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.builders import Builder
    from sphinx.environment import BuildEnvironment

    from generator.site.output import Memory
    from generator.site.pages import Site

# Sphinx's search finds the page of a harness by its words already, and knows no collected pages.
_NOT_SEARCHED = -1


class EvalDomain(Domain):
    name = "eval"
    label = "evaldock"
    object_types: ClassVar = {"task": ObjType("task", "task"), "harness": ObjType("harness", "harness")}
    roles: ClassVar = {"task": XRefRole(warn_dangling=True), "harness": XRefRole(warn_dangling=True)}
    # links: {document: {(type, target as written): page it led to}}; blocks: {document: {kind: key}}
    initial_data: ClassVar = {"links": {}, "blocks": {}}
    data_version = 1

    # Not pickled with the environment; the extension sets them anew in each build.
    site: Site
    memory: Memory

    def note_block(self, docname: str, kind: str) -> None:
        """A document shows a block of the catalog (see `Site.block`)."""
        key = self.site.block_key(kind, docname)
        self.data["blocks"].setdefault(docname, {})[kind] = key

    def clear_doc(self, docname: str) -> None:
        for documents in self.data.values():
            if isinstance(documents, dict):
                documents.pop(docname, None)

    def merge_domaindata(self, docnames: Set[str], otherdata: dict[str, Any]) -> None:
        for kind in self.initial_data:
            for docname in docnames & otherdata[kind].keys():
                self.data[kind][docname] = otherdata[kind][docname]

    def process_doc(self, env: BuildEnvironment, docname: str, document: nodes.document) -> None:
        links = {}
        for node in document.findall(addnodes.pending_xref):
            if node["refdomain"] == self.name:
                target = (node["reftype"], node["reftarget"])
                links[target] = self.page_of(*target)
        if links:
            self.data["links"][docname] = links

    def outdated(self) -> Iterator[str]:
        """Documents that would look different with today's catalog, or have a link to warn of again."""
        for docname, blocks in self.data["blocks"].items():
            # A block of a harness that is gone belongs to a document that goes with it.
            if any(self.site.block_key(kind, docname) != key for kind, key in blocks.items()):
                yield docname
        for docname, links in self.data["links"].items():
            if any(page is None or self.page_of(*target) != page for target, page in links.items()):
                yield docname

    def page_of(self, kind: str, target: str) -> str | None:
        """By the full name, or a task's bare name where only one harness has it."""
        found = self.candidates(kind, target)
        return self._pages(kind)[found[0]] if len(found) == 1 else None

    def candidates(self, kind: str, target: str) -> Sequence[str]:
        """Full names of the objects that `target` can mean."""
        if target in self._pages(kind):
            return (target,)
        return self._bare_names.get(target, ()) if kind == "task" else ()

    def _pages(self, kind: str) -> Mapping[str, str]:
        return self.site.addresses.tasks if kind == "task" else self.site.addresses.harnesses

    @property
    def _bare_names(self) -> dict[str, list[str]]:
        if not hasattr(self, "_bare"):
            self._bare: dict[str, list[str]] = {}
            for task in self.site.catalog.tasks:
                self._bare.setdefault(task.name, []).append(task.id)
        return self._bare

    def resolve_xref(  # noqa: PLR0917 # the signature is Sphinx's
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        typ: str,
        target: str,
        node: addnodes.pending_xref,
        contnode: Element,
    ) -> nodes.reference | None:
        found = self.candidates(typ, target)
        if len(found) != 1:
            return None
        return make_refnode(builder, fromdocname, self._pages(typ)[found[0]], "", contnode, found[0])

    def resolve_any_xref(  # noqa: PLR0917 # the signature is Sphinx's
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        target: str,
        node: addnodes.pending_xref,
        contnode: Element,
    ) -> list[tuple[str, nodes.reference]]:
        return [
            (f"eval:{kind}", make_refnode(builder, fromdocname, page, "", contnode))
            for kind in self.object_types
            if (page := self.page_of(kind, target)) is not None
        ]

    def why_missing(self, kind: str, target: str) -> str:
        """What to say of a link that leads nowhere, in other projects' inventories either."""
        if found := self.candidates(kind, target):
            return f"task {target!r} stands in several harnesses: write one of {', '.join(found)}"
        hint = did_you_mean(target, self._pages(kind))
        if kind == "task" and not hint:
            hint = did_you_mean(target.rpartition(".")[2], self._bare_names)
        return f"the catalog has no {kind} {target!r}{hint}"

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        addresses = self.site.addresses
        for harness in self.site.catalog.harnesses:
            title = shorten(plain(harness.title), 200) or harness.name
            yield harness.name, title, "harness", addresses.harness(harness), "", _NOT_SEARCHED
            for task in harness.tasks:
                yield task.id, task.id, "task", addresses.task(task), "", _NOT_SEARCHED
