"""What a catalog's index has on record, and which of it can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog import store
from catalog.errors import Refused
from catalog.models import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """`broken`: by entry, what is wrong with its IR files or with the index itself."""

    mapping_sha256: str
    entries: Mapping[str, Entry]
    broken: Mapping[str, str]

    @classmethod
    def load(cls, root: Path) -> Recorded:
        index, _ = store.read_index(root)
        if index is None:
            return cls(mapping_sha256="", entries={}, broken={})
        catalog, findings = store.inspect(root)
        wrong = {one.file: str(one) for one in reversed(findings) if one.file != store.MAPPING}
        broken = {}
        for each in index.entries:
            places = [store.INDEX, *(f"{store.IR}/{file.file}" for file in each.files)]
            problem = next((wrong[place] for place in places if place in wrong), None)
            if problem is not None:
                broken[each.entry.mapping.key] = problem
        return cls(
            mapping_sha256=index.mapping_sha256,
            entries={entry.mapping.key: entry for entry in catalog.entries},
            broken=broken,
        )

    def kept(self, key: str) -> Entry | None:
        """The entry as it stands on record, None if there is none. Raises Refused when its IR was changed by
        somebody else: writing it again would give a hand edit our checksum."""
        if key in self.broken:
            raise Refused(
                f"entry {key!r} was not read, and its IR can't be kept either: {self.broken[key]}",
                hint=f"restore ir/ (for example `git checkout ir`), or have {key!r} read by `evaldock sync`",
            )
        return self.entries.get(key)
