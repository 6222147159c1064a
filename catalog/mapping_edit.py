"""Writing mapping.toml without touching what people wrote in it."""

from __future__ import annotations

from collections.abc import Iterable

import tomlkit

from catalog.models import MappingEntry

TEMPLATE = """\
# Which images this catalog is made of. After a change run `evaldock sync`, which reads them and writes ir/;
# commit both. The name of a table names the entry; harnesses and tasks are named by the images themselves.
#
# [my-harness]
# container = "registry.example/team/my-harness:1.0"  # or by digest, or "oci:layouts/my-harness" from here
# platform = "linux/amd64"              # only when the image has several that differ
# packages = ["my-harness==1.0"]        # the same harness without a container: requirements or folders
# abilities = ["resume", "shards"]      # what the harness can do beyond running from start to end
"""


def with_entries(text: str, entries: Iterable[MappingEntry]) -> str:
    """`text`, a mapping.toml, with a table for each of `entries` at its end; comments and order stay."""
    document = tomlkit.parse(text)
    for entry in entries:
        table = tomlkit.table()
        table["container"] = entry.container
        if entry.platform is not None:
            table["platform"] = entry.platform
        if entry.packages:
            table["packages"] = list(entry.packages)
        if entry.abilities:
            table["abilities"] = list(entry.abilities)
        if document:
            document.add(tomlkit.nl())
        document[entry.key] = table
    return tomlkit.dumps(document)
