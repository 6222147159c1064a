"""The pages that are no documents, one for each task above all, and the data files of the whole site.

A page is rendered only when its key changed: the fingerprint of its record and its neighbours, of this
package's code and templates, and of the shell, which is what the theme puts around the page. The shell's own
fingerprint is that of a sample page rendered by Sphinx itself, so that it covers whatever has a say in it:
theme, options, other extensions, navigation, checksums of scripts.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from markupsafe import escape
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.util import logging
from sphinx.util.display import status_iterator

from generator.site.addresses import BROWSE, ROOT
from generator.site.data_files import beside_task, data_files
from generator.site.fingerprints import fingerprint, of_our_code
from generator.site.output import sweep, write_if_changed
from generator.site.page import Makers, Page
from generator.site.pages import Site
from generator.site.results.result_pages import result_pages
from generator.site.settings import STATIC
from generator.site.templating import way
from generator.site.text import plain, shorten

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from generator.site.domain import EvalDomain

logger = logging.getLogger(__name__)

TEMPLATE = "page.html"
# On every page, and on the page that searches, in the order in which they build on each other.
STYLES = ("evaldock.css", "evaldock-pages.css", "evaldock-results.css")
SCRIPTS = ("evaldock.js",)
BROWSE_STYLES = ("evaldock-browse.css",)
BROWSE_SCRIPTS = (
    "evaldock-search.js",
    "evaldock-synonyms.js",
    "evaldock-words.js",
    "evaldock-find.js",
    "evaldock-address.js",
    "evaldock-facets.js",
    "evaldock-browse.js",
)

# Below ROOT, all of it made here: what no page of this build accounts for goes.
FOLDERS = ("tasks", "harnesses", "results", "models", "compare")

_SAMPLE = f"{ROOT}/tasks/sample/sample"
_SAMPLE_FILE = "evaldock-sample.html"
_META = {"html_theme.sidebar_secondary.remove": "true"}


def copy_static(outdir: Path) -> None:
    """Before any page is written: their links carry a checksum of these files."""
    for path in sorted(STATIC.iterdir()):
        write_if_changed(outdir / "_static" / path.name, path.read_bytes())


def add_assets(
    app: Sphinx, pagename: str, _template: str, _context: dict[str, Any], _doctree: object
) -> None:
    browse = pagename == BROWSE
    for name in (*STYLES, *(BROWSE_STYLES if browse else ())):
        app.add_css_file(name)
    for name in (*SCRIPTS, *(BROWSE_SCRIPTS if browse else ())):
        app.add_js_file(name, loading_method="defer")


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields what Sphinx has to render; writes what stands beside it, removes what nothing makes any more."""
    builder = app.builder
    if not isinstance(builder, StandaloneHTMLBuilder):
        return
    domain = cast("EvalDomain", app.env.domains["eval"])
    site, memory, outdir = domain.site, domain.memory, Path(app.outdir)
    made = {_output_name(builder, document) for document in app.env.found_docs}
    keys: dict[str, str] = {}
    for files in data_files(site, app.config.html_title or app.config.project):
        keys[files.name] = files.key
        made.update(files.makers)
        if not memory.holds(files.name, files.key, outdir, files.makers):
            _write(outdir, files.makers)
    data = len(keys)
    shell = _shell(builder, Path(app.doctreedir))
    outdated: list[Page] = []
    for page in _all_pages(site):
        keys[page.name] = fingerprint(page.key, shell)
        names = (_output_name(builder, page.name), *page.beside)
        made.update(names)
        if not memory.holds(page.name, keys[page.name], outdir, names):
            outdated.append(page)
    unchanged = len(keys) - data - len(outdated)
    logger.info("pages of the catalog: %d to write, %d unchanged", len(outdated), unchanged)
    for page in _with_progress(app, outdated):
        _write(outdir, page.beside)
        yield page.name, _context(page, site), TEMPLATE
    sweep(outdir, [f"{ROOT}/{folder}" for folder in FOLDERS], keep=made)
    memory.keys = keys
    _drop_lost_words(builder)


def _drop_lost_words(builder: StandaloneHTMLBuilder) -> None:
    """Words that no page has any more stay in Sphinx's search index; without them it is as if made anew."""
    indexer = builder.indexer
    if indexer is None:
        return
    for mapping in (indexer._mapping, indexer._title_mapping):
        for word in [word for word, pages in mapping.items() if not pages]:
            del mapping[word]


def _write(outdir: Path, makers: Makers) -> None:
    for address, make in makers.items():
        write_if_changed(outdir / address, make())


def _with_progress(app: Sphinx, outdated: list[Page]) -> Iterator[Page]:
    if sys.stdout.isatty():
        label = "writing pages of the catalog... "
        yield from status_iterator(
            outdated, label, "darkgreen", len(outdated), app.verbosity, lambda page: page.name
        )
        return
    # Where no line can be written over, ten thousand of them would bury everything else.
    for number, page in enumerate(outdated, start=1):
        yield page
        if number % 1000 == 0:
            logger.info("pages of the catalog: %d of %d written", number, len(outdated))


def _context(page: Page, site: Site) -> dict[str, Any]:
    here = site.address_of(page.name)
    # The theme's templates escape nothing of this.
    return {
        "title": str(escape(page.title)),
        "body": page.render(),
        "parents": [
            {"link": way(here, site.address_of(name)), "title": str(escape(title))}
            for name, title in page.parents
        ],
        "meta": _META,
        "metatags": f'\n<meta name="description" content="{escape(page.about)}" />' if page.about else "",
    }


def _shell(builder: StandaloneHTMLBuilder, doctreedir: Path) -> str:
    sample = doctreedir / _SAMPLE_FILE
    context = {"title": "sample", "body": "", "parents": [], "meta": _META, "metatags": ""}
    builder.handle_page(_SAMPLE, context, TEMPLATE, outfilename=sample)
    shell = hashlib.sha256(sample.read_bytes()).hexdigest()
    sample.unlink()
    return shell


def _output_name(builder: StandaloneHTMLBuilder, page: str) -> str:
    return builder.get_output_path(page).relative_to(builder.outdir).as_posix()


def _all_pages(site: Site) -> Iterator[Page]:
    catalog_page = (f"{ROOT}/index", "Task catalog")
    whole = fingerprint(site.records.whole, of_our_code(), site.settings)
    yield Page(BROWSE, whole, "Find a task", (), partial(site.browse, BROWSE), {})
    for harness in site.catalog.harnesses:
        harness_page = (site.addresses.harness(harness), shorten(plain(harness.title), 60))
        for number, part in enumerate(site.table_parts(harness)[1:], start=1):
            key = fingerprint(site.block_key("tasks", harness_page[0]), number)
            title = f"{harness_page[1]}: tasks {part.label}"
            render = partial(site.further_part, harness, number)
            yield Page(part.page, key, title, (catalog_page, harness_page), render, {})
        for position, task in enumerate(harness.tasks):
            yield Page(
                site.addresses.task(task),
                site.task_key(harness, position),
                shorten(plain(task.title or task.name), 100),
                (catalog_page, harness_page),
                partial(site.task, harness, position),
                beside_task(site, harness, position),
                shorten(plain(task.description), 200),
            )
    yield from result_pages(site)
