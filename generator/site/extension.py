"""The Sphinx extension: a catalog's pages in any Sphinx project.

    extensions = ["generator.site"]
    evaldock_catalog = "../catalog"

Harness pages and the benchmarks table are documents; the pages of tasks are collected pages, which cost a
fortieth of a document and don't weigh on navigation. `generator.site.collected` writes those.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.errors import ExtensionError
from sphinx.util import logging

from catalog import __version__, store
from catalog.errors import EvaldockError
from generator.site import collected, documents
from generator.site.directives import DIRECTIVES, catalog_block, leave_out, write_block
from generator.site.domain import EvalDomain
from generator.site.example import ExampleEndpoint
from generator.site.fingerprints import fingerprint, of_files, of_our_code
from generator.site.output import Memory, keep_times
from generator.site.pages import Site
from generator.site.run_commands import repository_address
from generator.site.settings import COMPONENTS, Settings

if TYPE_CHECKING:
    from sphinx import addnodes
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.domains import Domain
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)

THEME = "pydata_sphinx_theme"


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension("myst_parser")
    # None of these is in Sphinx's own fingerprint of the configuration (rebuild ""): the keys of pages and
    # blocks cover them, and the output must not depend on where the catalog's folder is.
    app.add_config_value("evaldock_catalog", None, "", types=(str, type(None)))
    app.add_config_value("evaldock_allow_unverified", False, "", types=(bool,))
    app.add_config_value("evaldock_example_endpoint", {}, "", types=(dict,))
    app.add_config_value("evaldock_repository", Settings().repository, "", types=(str,))
    app.add_config_value("evaldock_workflow", Settings().workflow, "", types=(str,))
    app.add_config_value("evaldock_table_rows", Settings().table_rows, "", types=(int,))
    app.add_domain(EvalDomain)
    for name, directive in DIRECTIVES.items():
        app.add_directive_to_domain(EvalDomain.name, name, directive)
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), (leave_out, None))
    app.add_node(catalog_block, html=(write_block, None), **others)  # type: ignore[arg-type] # the stubs know no writer by keyword
    app.connect("config-inited", set_theme_defaults)
    app.connect("builder-inited", load_catalog)
    app.connect("env-get-outdated", outdated_documents)
    app.connect("env-updated", documents_to_write)
    app.connect("warn-missing-reference", warn_of_missing)
    app.connect("html-collect-pages", collected.pages)
    app.connect("html-page-context", collected.add_assets)
    # After all others: some themes write into the output at this moment.
    app.connect("build-finished", finish, priority=900)
    return {"version": __version__, "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}


def set_theme_defaults(_app: Sphinx, config: Config) -> None:
    """What a catalog's site wants of pydata-sphinx-theme, where its owner didn't say otherwise."""
    if config.html_theme != THEME:
        return
    config.templates_path.append(str(COMPONENTS))
    for option, value in _THEME_OPTIONS.items():
        config.html_theme_options.setdefault(option, value)
    # Without it the theme complains on each page's console.
    config.html_context.setdefault("default_mode", "auto")


_THEME_OPTIONS: dict[str, Any] = {
    "navbar_persistent": ["evaldock-find", "search-button"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def load_catalog(app: Sphinx) -> None:
    config = app.config
    try:
        given = config.evaldock_catalog
        catalog = store.load(store.find_root(Path(app.confdir, given) if given else None))
        if config.evaldock_allow_unverified:
            for problem in catalog.problems:
                logger.info("evaldock: built although it does not verify: %s", problem)
        else:
            store.require_verified(catalog)
        settings = Settings(
            example=ExampleEndpoint.of(config.evaldock_example_endpoint),
            repository=repository_address(config.evaldock_repository),
            workflow=config.evaldock_workflow,
            table_rows=config.evaldock_table_rows,
        )
    except EvaldockError as error:
        raise ExtensionError(str(error)) from error
    domain = domain_of(app.env)
    domain.site = Site(catalog, settings, app.builder.get_target_uri)
    documents.bring_up_to_date(Path(app.srcdir), documents.sources(list(domain.site.harness_at)))
    if isinstance(app.builder, StandaloneHTMLBuilder):
        collected.copy_static(Path(app.outdir))


def domain_of(env: BuildEnvironment) -> EvalDomain:
    return cast(EvalDomain, env.domains[EvalDomain.name])


def outdated_documents(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], removed: set[str]
) -> Iterable[str]:
    return [name for name in domain_of(env).outdated() if name not in removed]


def warn_of_missing(_app: Sphinx, domain: Domain | None, node: addnodes.pending_xref) -> bool | None:
    if not isinstance(domain, EvalDomain):
        return None
    kind, target = node["reftype"], node["reftarget"]
    logger.warning(domain.why_missing(kind, target), location=node, type="eval", subtype=kind)
    return True


def documents_to_write(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """All documents when what surrounds them has changed: Sphinx itself rewrites those that it read again,
    but a new page in the navigation, or a theme with an older date, shows on all of them."""
    if not isinstance(app.builder, StandaloneHTMLBuilder):
        return []
    memory = domain_of(env).memory = Memory.load(Path(app.doctreedir), Path(app.outdir))
    Memory.forget(Path(app.doctreedir))
    shell = _shell(app, app.builder)
    if shell == memory.shell:
        return []
    memory.shell = shell
    return sorted(env.found_docs)


def _shell(app: Sphinx, builder: StandaloneHTMLBuilder) -> str:
    env = app.env
    titles = {name: title.astext() for name, title in env.titles.items()}
    folders = [Path(folder) for folder in builder.theme.get_theme_dirs()]
    folders += [
        Path(app.confdir, folder) for folder in (*app.config.templates_path, *app.config.html_static_path)
    ]
    extensions = {name: extension.version for name, extension in app.extensions.items()}
    return fingerprint(
        sorted(env.toctree_includes.items()),
        sorted(titles.items()),
        of_files([path for folder in folders for path in folder.rglob("*")]),
        sorted(extensions.items()),
        builder.build_info.config_hash,
        of_our_code(),
    )


def finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or not isinstance(app.builder, StandaloneHTMLBuilder):
        return
    memory = domain_of(app.env).memory
    outdir, doctreedir = Path(app.outdir), Path(app.doctreedir)
    keep_times(outdir, memory, _floors(app, app.builder), doctreedir)
    memory.save(doctreedir)


def _floors(app: Sphinx, builder: StandaloneHTMLBuilder) -> dict[str, int]:
    """Sphinx takes a page for outdated when it is older than its source or than any template."""
    template = int(builder.templates.newest_template_mtime() * 1e9)
    floors = {}
    for name in app.env.found_docs:
        source = Path(app.env.doc2path(name))
        page = builder.get_output_path(name).relative_to(app.outdir).as_posix()
        floors[page] = max(template, source.stat().st_mtime_ns)
    return floors
