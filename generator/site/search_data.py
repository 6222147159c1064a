"""The data behind the browse page: one script file, so that it loads from file:// too.

Columns instead of records keep 10,000 tasks near 340 KB gzipped: every repeated word stands once and tasks
hold its index. The order of everything follows the catalog, so equal catalogs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from catalog.models import Catalog, Task
from generator.site.addresses import Addresses
from generator.site.scripts import script_value
from generator.site.text import one_line, plain, shorten

VERSION = 1
DESCRIPTION_LENGTH = 160


def search_data(catalog: Catalog, addresses: Addresses, address_of: Callable[[str], str]) -> dict[str, Any]:
    """`address_of` turns a page name into its address relative to the site's root.

    Each row of `tasks` is `[name, harness, title, description, endpoint types, capabilities, architectures,
    address]` with indexes into the lists beside it. An empty list means that the image doesn't say; an empty
    title that the task has none of its own.
    """
    endpoint_types, capabilities, architectures = _Words(), _Words(), _Words()
    harnesses: list[dict[str, str]] = []
    rows: list[list[Any]] = []
    for index, harness in enumerate(catalog.harnesses):
        harnesses.append(
            {
                "name": harness.name,
                "title": shorten(plain(harness.title), DESCRIPTION_LENGTH),
                "url": address_of(addresses.harness(harness)),
            }
        )
        image_architectures = architectures.indexes(harness.image.architectures)
        for task in harness.tasks:
            rows.append(
                [
                    task.name,
                    index,
                    _title(task),
                    shorten(one_line(task.description), DESCRIPTION_LENGTH),
                    endpoint_types.indexes(task.endpoint_types),
                    capabilities.indexes(task.capabilities),
                    image_architectures,
                    address_of(addresses.task(task)),
                ]
            )
    return {
        "version": VERSION,
        "harnesses": harnesses,
        "endpointTypes": endpoint_types.known,
        "capabilities": capabilities.known,
        "architectures": architectures.known,
        "tasks": rows,
    }


def search_script(data: dict[str, Any]) -> str:
    return f"window.EVALDOCK_SEARCH = {script_value(data)};\n"


def _title(task: Task) -> str:
    title = shorten(plain(task.title or ""), DESCRIPTION_LENGTH)
    return "" if title == task.name else title


class _Words:
    """A list of different words in the order they were first met."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._index: dict[str, int] = {}

    def indexes(self, words: Iterable[str]) -> list[int]:
        found = []
        for word in dict.fromkeys(words):
            if word not in self._index:
                self._index[word] = len(self.known)
                self.known.append(word)
            found.append(self._index[word])
        return found
