"""The files that machines read: which there are, beside which page, and from what they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from catalog.models import Catalog, Harness
from generator.site import exports
from generator.site.addresses import BENCHMARKS, BROWSE, SEARCH_SCRIPT
from generator.site.defaults import default_rows
from generator.site.fingerprints import fingerprint, of_our_code
from generator.site.page import Makers
from generator.site.pages import Site, files_of
from generator.site.results.result_pages import task_beside
from generator.site.scripts import command_script
from generator.site.search_data import search_data, search_script
from generator.site.settings import SCHEMA


@dataclass(frozen=True, slots=True)
class Files:
    """Files by address, all made anew when `key` changes."""

    name: str
    key: str
    makers: Makers


def data_files(site: Site, title: str) -> Iterator[Files]:
    """Those of the whole site, then those beside the pages of its harnesses."""
    yield Files(":site", _key(site, site.records.whole, title), dict(_of_site(site, title)))
    for harness in site.catalog.harnesses:
        key = _key(site, site.records.with_tasks[harness.name])
        yield Files(f":harness {harness.name}", key, dict(_of_harness(site, harness)))


def _key(site: Site, *parts: str) -> str:
    # What addresses look like is the builder's choice.
    return fingerprint(parts, site.catalog.mapping_sha256, site.address_of(BROWSE), of_our_code())


def _of_site(site: Site, title: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    catalog, addresses, address_of = site.catalog, site.addresses, site.address_of
    beside = files_of(BENCHMARKS)
    table = exports.TaskTable(_rows(catalog), addresses, address_of)
    yield SEARCH_SCRIPT, lambda: search_script(search_data(catalog, addresses, address_of)).encode()
    yield "catalog.json", lambda: exports.json_file(exports.catalog_data(catalog, addresses, address_of))
    yield "catalog.schema.json", SCHEMA.read_bytes
    # GitHub Pages would leave out what starts with an underscore.
    yield ".nojekyll", lambda: b""
    yield "llms.txt", lambda: exports.llms_txt(catalog, title, addresses, address_of).encode()
    yield beside.json, lambda: exports.json_lines(table.records)
    yield beside.csv, lambda: exports.task_table_csv(table.records)


def _of_harness(site: Site, harness: Harness) -> Iterator[tuple[str, Callable[[], bytes]]]:
    page = site.addresses.harness(harness)
    beside = files_of(page, command_of=page)
    rows = tuple((harness, task) for task in harness.tasks)
    table = exports.TaskTable(rows, site.addresses, site.address_of)

    def whole() -> bytes:
        about = exports.harness_about(harness, site.address_of(page))
        return exports.json_file(about | {"tasks": table.records})

    yield beside.json, whole
    yield beside.csv, lambda: exports.task_table_csv(table.records)
    command = harness.command
    if command is not None:
        yield beside.command_script, lambda: command_script(command).encode()


def _rows(catalog: Catalog) -> exports.Rows:
    return tuple((harness, task) for harness in catalog.harnesses for task in harness.tasks)


def beside_task(site: Site, harness: Harness, position: int) -> Makers:
    """The task whole as JSON, its defaults as CSV."""
    task = harness.tasks[position]
    page, harness_page = site.addresses.task(task), site.addresses.harness(harness)
    files = files_of(page)

    def whole() -> bytes:
        addresses = site.address_of(page), site.address_of(harness_page)
        return exports.json_file(exports.task_whole(harness, task, *addresses))

    own = {files.json: whole, files.csv: lambda: exports.defaults_csv(default_rows(task))}
    return own | dict(task_beside(site, harness, task))
