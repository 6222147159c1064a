"""What a check finds: `Finding`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"  # the catalog can't be trusted, or not wholly: checks fail
    WARNING = "warning"  # worth a look: checks pass
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`code` is a stable, lower-case, hyphenated name (`mapping-changed`). `file` is relative to the
    catalog's folder, with `/`; `line` (1-based) stands where there is one. `hint` is the next step."""

    severity: Severity
    code: str
    message: str
    file: str | None = None
    line: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{where}: {self.message}" if where else self.message
