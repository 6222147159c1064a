"""Values of a YAML document, taken as what they should be: what isn't is told with its key path and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.definition_fields import Fields, Unfit, flag, free
from catalog.nearest import did_you_mean
from catalog.yaml_reading import Document, Path, spelled


class CheckedValues:
    """`problems` are mistakes, `unknown` are keys and values that nobody knows: complete lines."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[str] = []
        self.unknown: list[str] = []

    def listed(self, values: Mapping[str, Any], key: str, known: Sequence[str], path: Path) -> None:
        """Warns of what is not among the known."""
        for value in values.get(key) or ():
            if value not in known:
                self.warn((*path, key), f"unknown value {value!r:.80}{did_you_mean(str(value), known)}")

    def values(self, values: Mapping[str, Any], fields: Fields, path: Path) -> dict[str, Any]:
        """`values` with every known field taken as its kind; nulls stay."""
        taken: dict[str, Any] = {}
        self.known_keys(values, tuple(fields), path)
        for key, value in values.items():
            field = fields.get(key)
            where = (*path, key)
            if field is None or value is None:
                taken[key] = value
            elif isinstance(field, Mapping):
                below = self.mapping(value, where)
                if below is not None:
                    taken[key] = self.values(below, field, where)
            else:
                try:
                    taken[key] = field(value)
                    if value == "vlm" and key == "type":
                        self.warn(where, "'vlm' is an old name; 'chat' is meant")
                except Unfit as error:
                    self.wrong(where, f"expected {error}, found {value!r:.80}")
        return taken

    def part(self, values: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any] | None:
        """A mapping that must be there."""
        if values.get(key) is None:
            self.wrong((*path, key), "missing")
            return None
        return self.mapping(values[key], (*path, key))

    def mapping(self, value: Any, path: Path) -> Mapping[str, Any] | None:
        try:
            return free(value)
        except Unfit as error:
            found = "nothing" if value is None else repr(value)[:80]
            self.wrong(path, f"expected {error}, found {found}")
            return None

    def text(self, values: Mapping[str, Any], key: str, path: Path, required: bool = False) -> str | None:
        value = values.get(key)
        if type(value) is str and (value.strip() or not required):
            return value
        if value is not None or required:
            found = "missing" if value is None else f"expected text, found {value!r:.80}"
            self.wrong((*path, key), found)
        return None

    def flag(self, values: Mapping[str, Any], key: str, path: Path) -> bool:
        try:
            return values.get(key) is not None and flag(values[key])
        except Unfit as error:
            self.wrong((*path, key), f"expected {error}, found {values[key]!r:.80}")
            return False

    def texts(self, values: Mapping[str, Any], key: str, path: Path) -> list[str]:
        """Of a text or a list of texts."""
        value = values.get(key)
        if value is None:
            return []
        parts = value if isinstance(value, list) else [value]
        if all(type(part) is str for part in parts):
            return parts
        self.wrong((*path, key), f"expected text or a list of texts, found {value!r:.80}")
        return []

    def known_keys(self, values: Mapping[str, Any], known: Sequence[str], path: Path) -> None:
        """Warns of the others."""
        for key in values:
            if key not in known:
                self.warn((*path, key), f"unknown key{did_you_mean(key, known)}")

    def wrong(self, path: Path, message: str) -> None:
        self.problems.append(self.line(path, message))

    def warn(self, path: Path, message: str) -> None:
        line = self.line(path, message)
        if line not in self.unknown:
            self.unknown.append(line)

    def line(self, path: Path, message: str) -> str:
        """The message behind its key path, with the number of the nearest line above it."""
        line = next((at for n in range(len(path), 0, -1) if (at := self.document.lines.get(path[:n]))), None)
        where = f"{spelled(path)}: " if path else ""
        return f"{where}{message}{f' (line {line})' if line else ''}"
